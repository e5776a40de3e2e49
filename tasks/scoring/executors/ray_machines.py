"""Asks the GPU machines of a Ray cluster what they have, and tells which actors hold their GPUs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from thickets.storage.errors import InputError, RunError
from thickets.tasks.engines import EngineSpec, resolve_spec
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.scoring.executors.ray_environment import ray_environment

# A worker's start and its first imports of PyTorch and vLLM, from a slow disk.
ANSWER_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class GpuMachine:
    """What one machine of a cluster has for an engine.

    Attributes:
        host: Its name.
        engine: The spec that was asked about, resolved there.
        cards: What the maker calls each of its GPUs.
        memory_bytes: Of the smallest of them.
    """

    host: str
    engine: EngineSpec
    cards: tuple[str, ...]
    memory_bytes: int


def ask_gpu_machines(
    spec: EngineSpec, address: str, *, is_local: bool, within_s: float = ANSWER_WITHIN_S
) -> GpuMachine:
    """Ask every machine of the cluster that has a GPU, and return the answer of all.

    No GPU is asked of Ray for that: engines, of this run or of another, may hold all of them, and would hold them until
    this call has returned.

    Args:
        spec: For the device ``cuda``.
        address: Of the cluster, for messages.
        is_local: As for `ray_environment`.
        within_s: How long they may take.

    Raises:
        InputError: A machine refuses, or they differ in what decides an answer.
        RunError: One does not answer.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from thickets.tasks.engines.dtypes import stored_dtype  # PyTorch: seconds

    # Whatever Ray's own setting is: a process without GPUs of its own sees those of the machine.
    variables = ray_environment(threads=1, is_local=is_local) | {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    # A process that ends with its answer holds no memory of a GPU afterwards.
    look = ray.remote(num_cpus=0, max_calls=1, max_retries=1, runtime_env={"env_vars": variables})(_look)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    stored = stored_dtype(spec.model_path)
    asked = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            spec, stored
        ): node["NodeManagerAddress"]
        for node in nodes
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=within_s)
    if silent:
        for answer in silent:
            ray.cancel(answer, force=True)
        raise RunError(
            f"engine.executor: {', '.join(sorted(asked[answer] for answer in silent))} of the Ray cluster at {address} "
            f"did not answer within {within_s:.0f} s; {gpu_holders()}"
        )
    return _the_same(address, [_answer(ray, answer) for answer in answered])


def gpu_holders() -> str:
    """Say in words which actors of the cluster hold GPUs, those of other runs included."""
    # The public way asks the dashboard, which a cluster need not have.
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import ActorTableData

    accessor = state._connect_and_get_accessor()
    actors = [ActorTableData.FromString(row) for row in accessor.get_actor_table(None, "ALIVE")]
    held = [
        f"{actor.class_name} (process {actor.pid} on {actor.address.ip_address})"
        for actor in actors
        if actor.required_resources.get("GPU")
    ]
    if not held:
        return "no actor holds a GPU"
    return f"GPUs are held by {', '.join(sorted(held))}"


def _look(spec: EngineSpec, stored: DtypeName) -> GpuMachine:
    """Answer for the machine that this runs on."""
    host = socket.gethostname()
    try:
        resolved = resolve_spec(spec, stored)
    except InputError as error:
        raise InputError(f"on {host}: {error}") from None
    import torch

    cards = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return GpuMachine(host, resolved, tuple(card.name for card in cards), min(int(card.total_memory) for card in cards))


def _answer(ray: Any, answer: Any) -> GpuMachine:
    try:
        found: GpuMachine = ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    return found


def _the_same(address: str, machines: list[GpuMachine]) -> GpuMachine:
    """Return the one with the least memory; refuse machines that would not give the same answers."""
    cards = {card for machine in machines for card in machine.cards}
    if len(cards) > 1:
        found = "; ".join(sorted(f"{', '.join(sorted(set(each.cards)))} on {each.host}" for each in machines))
        raise InputError(
            f"engine.executor: the GPUs of the Ray cluster at {address} differ ({found}), and so may their answers; "
            "use a cluster of one kind"
        )
    kinds = {(each.engine.kind, each.engine.dtype): each for each in machines}
    if len(kinds) > 1:
        found = "; ".join(sorted(f"{kind} in {dtype} on {each.host}" for (kind, dtype), each in kinds.items()))
        raise InputError(
            f"engine.kind: the machines of the Ray cluster at {address} would run different engines ({found}); install "
            "the same libraries on all, or set engine.kind and engine.dtype"
        )
    return min(machines, key=lambda machine: machine.memory_bytes)
