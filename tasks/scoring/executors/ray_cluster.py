"""The connection to a Ray cluster: one that is running somewhere, or a local one that ends with the run."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass, field, replace
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, resolve_spec
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.scoring.executors.ray_machines import GpuMachine, ask_gpu_machines

NAMESPACE = "thickets"
_CONNECT_TIMEOUT_S = 10.0
# Ray would take a third of the memory for objects; all that is kept there is one job of a few megabytes.
_OBJECT_STORE_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A Ray cluster that this process is connected to.

    Attributes:
        address: Host and port, for messages.
        is_local: It was started by this process and ends with `close`.
        is_ours: This process has connected for this run, so `close` disconnects it.
        gpus: GPUs of every live machine.
        cpus: CPU cores that Ray may give away, of every live machine, in the same order.
    """

    address: str
    is_local: bool
    is_ours: bool
    gpus: tuple[int, ...]
    cpus: tuple[int, ...]
    # What its GPU machines have answered, by what they were asked. Kept, because engines hold the GPUs later.
    _machines: dict[tuple[object, ...], GpuMachine] = field(default_factory=dict, repr=False, compare=False)

    @property
    def device(self) -> str:
        """Return what ``engine.device: auto`` stands for: ``"cuda"`` where the cluster has a GPU, else ``"cpu"``."""
        return "cuda" if any(self.gpus) else "cpu"

    def resolve(self, spec: EngineSpec) -> EngineSpec:
        """Run `thickets.tasks.engines.resolve_spec` where the engines will be: this machine may have no GPU.

        Raises:
            InputError: The device or the engine is not there, or the GPUs are not all of one kind.
            RunError: A machine does not answer.
        """
        if kind_of(spec.model_path).only_engine == "signals":  # it takes no GPU
            return resolve_spec(spec)
        device = self.device if spec.device == "auto" else spec.device
        if device == "cuda" and not any(self.gpus):
            raise InputError(
                f"engine.device: 'cuda' was asked for, but the Ray cluster at {self.address} has no GPU; use cpu"
            )
        spec = replace(spec, device=device)
        if device != "cuda":
            return resolve_spec(spec)
        found = self.gpu_machine(spec).engine
        return replace(spec, kind=found.kind, device=found.device, dtype=found.dtype, card=found.card)

    def gpu_machine(self, spec: EngineSpec) -> GpuMachine:
        """Return what the cluster's GPU machines make of a spec for ``cuda``; they are asked once.

        Raises:
            InputError: They refuse, or differ.
            RunError: One does not answer.
        """
        asked = (spec.kind, spec.device, spec.dtype, spec.model_path)
        if asked not in self._machines:
            self._machines[asked] = ask_gpu_machines(spec, self.address, is_local=self.is_local)
        return self._machines[asked]

    @property
    def cores_per_gpu(self) -> int:
        """Return the fewest CPU cores that a machine has for each of its GPUs, at least 1."""
        return max(1, min((cpus // gpus for gpus, cpus in zip(self.gpus, self.cpus, strict=True) if gpus), default=1))

    def room(self, *, gpus: int, cpus: int) -> int:
        """Count the engines that fit, of so many GPUs each, or of so many CPU cores each where `gpus` is 0.

        Raises:
            InputError: Not even one.
        """
        per_machine, needed, what = (self.gpus, gpus, "GPUs") if gpus else (self.cpus, cpus, "CPU cores")
        found = sum(has // needed for has in per_machine)
        if not found:
            field = "engine.vllm.tensor_parallel" if gpus else "engine.cpus"
            raise InputError(
                f"{field}: an engine needs {needed} {what} on one machine, but the largest of the Ray cluster at "
                f"{self.address} has {max(per_machine, default=0)}; lower it"
            )
        return found

    def close(self) -> None:
        """Disconnect, and end a local cluster; one that was connected before the run is left alone."""
        if self.is_ours:
            import ray

            ray.shutdown()


def connect(address: str | None) -> RayCluster:
    """Connect to the cluster at an address (``auto``: the one running on this machine), or start a local one.

    A process that is connected to a cluster already stays with that one.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """
    check_reachable(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else a warning about the future of Ray
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        _initialise(ray, address)
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return RayCluster(
        address=ray.get_runtime_context().gcs_address,
        is_local=is_ours and not address,
        is_ours=is_ours,
        gpus=tuple(int(machine.get("GPU", 0)) for machine in machines),
        cpus=tuple(int(machine.get("CPU", 0)) for machine in machines),
    )


def check_reachable(address: str | None) -> None:
    """Check that Ray is installed and that something listens at the address.

    Raises:
        InputError: Ray is not installed, or nothing listens there.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError("engine.executor: ray is not installed; install the extra thickets[ray], or use local")
    if not address or address == "auto":
        return
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # an address of IPv6
    # Ray itself tries for minutes, with pages of warnings, and then ends the process.
    try:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S):
            pass
    except (OSError, ValueError) as error:
        raise InputError(
            f"engine.address: there is no Ray cluster at {address} ({error}); start one with `ray start --head` and "
            "give the address it prints, host:port"
        ) from None


def _initialise(ray: Any, address: str | None) -> None:
    here = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES}
    in_main_thread = threading.current_thread() is threading.main_thread()
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",  # None would be the cluster of RAY_ADDRESS
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **here,
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(
            f"engine.address: cannot connect to the Ray cluster at {address or 'this machine'}: "
            f"{' '.join(str(error).split())}"
        ) from None
    if in_main_thread:
        signal.signal(signal.SIGTERM, on_termination)  # Ray takes the signal over; keep the flow's own handler
