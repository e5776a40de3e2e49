"""One run per accelerator: a run holds a Prefect global concurrency limit for the device that its engine is on.

The limits are Prefect's, so that they are seen and changed in its UI and hold for runs of every worker and of the
command line. A device without a limit is not limited.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from thickets.flows.config.run import EngineConfig
from thickets.flows.placement.seats import seats
from thickets.flows.placement.visible_gpus import physical_gpu
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import shown
from thickets.tasks.engines import EngineSpec

# The slot of a process that was killed comes back when its lease ends, and its retry waits for that; 60 is the least
# that Prefect takes.
_LEASE_S = 60.0
_PATIENCE_S = 1.0  # until a run logs that it waits
_held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())


def create_limits() -> list[str]:
    """Create this machine's limits, one run each, on the Prefect server; one that exists keeps its value.

    Returns:
        Their names.
    """
    names = limits_of_this_machine()
    with get_client(sync_client=True) as client:
        for name in names:
            try:
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1, active=True))
            except ObjectAlreadyExists:
                continue
    return names


def limits_of_this_machine() -> list[str]:
    """Return the names of the limits of every device that this process sees, the CPU included."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    apple = ["mps"] if torch.backends.mps.is_available() else []
    return [_name(device) for device in ("cpu", *gpus, *apple)]


@contextmanager
def accelerator(engine: EngineConfig, spec: EngineSpec) -> Iterator[None]:
    """Hold the devices of a run's engines; wait, as long as it takes, until another run releases them.

    Args:
        engine: The configuration's section; engines of a Ray cluster hold the cluster.
        spec: The engine with its device resolved.
    """
    with hold(_names(engine, spec)):
        yield


@contextmanager
def hold_device(device: str) -> Iterator[None]:
    """Hold one device of this machine, for work without a run's engine.

    Args:
        device: cpu, cuda, cuda:1, ...
    """
    with hold([_name("cuda:0" if device == "cuda" else device)]):
        yield


@contextmanager
def hold(names: Iterable[str]) -> Iterator[None]:
    """Hold the limits of these names that exist and that this run does not hold yet."""
    wanted = [name for name in names if name not in _held.get() and _exists(name)]
    if not wanted:  # held by this run already (a student's engine, say), or not limited
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(_slots(wanted, timeout_seconds=_PATIENCE_S))
        except TimeoutError:
            log.info(f"waiting for {', '.join(wanted)}: another run is on it")
            stack.enter_context(_slots(wanted))
        token = _held.set(_held.get() | set(wanted))
        stack.callback(_held.reset, token)
        yield


@contextmanager
def _slots(names: list[str], timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold slots of limits; a server that is away when they are given back takes them back when their lease ends."""
    slots = concurrency(names, timeout_seconds=timeout_seconds, lease_duration=_LEASE_S)
    slots.__enter__()
    try:
        yield
    finally:
        with shown("back the slots of this run's devices"):
            slots.__exit__(None, None, None)


def _names(engine: EngineConfig, spec: EngineSpec) -> list[str]:
    if engine.executor == "ray" and engine.address is not None:
        return [f"accelerator:ray:{engine.address}"]
    if engine.executor == "ray":
        return limits_of_this_machine()
    if not spec.device.startswith("cuda"):
        return [_name(spec.device)]
    from thickets.tasks.engines.devices import visible_cards  # PyTorch: seconds

    taken = {gpu for seat in seats(visible_cards(), engine, spec) for gpu in seat}
    return [_name(f"cuda:{gpu}") for gpu in sorted(taken)]


def _name(device: str) -> str:
    return f"accelerator:{socket.gethostname()}:{physical_gpu(device)}"


def _exists(name: str) -> bool:
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            return False
    return True
