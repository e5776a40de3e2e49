"""Decides how many engines a run gets on this machine, each in a process of its own: as configured, or as pays.

On CUDA that is one per GPU that this process sees.
"""

from __future__ import annotations

import os
from dataclasses import replace

from thickets.flows.placement.seats import Seat, seat_environment, seated, seats
from thickets.flows.plan import RunPlan
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec
from thickets.tasks.scoring.executors.machine import usable_cores, usable_memory_bytes

# Answers to the selection questions from which on further engines are worth their start: about 10 s, in which little is
# scored, against an eighth of the time. Those are figures of SmolLM2; a larger model's answers and starts cost more.
_WORTHWHILE_ANSWERS = 2000
# Per engine on the CPU: the model's weights, the base's, the next candidate's, and those that vLLM has packed.
_COPIES = 4
_LIBRARIES_BYTES = 1 << 30  # PyTorch, vLLM and keys and values
_MEMORY_SHARE = 0.7  # of what is free now; the rest is for the page cache and other programs
_FLOAT32_BYTES = 4


def local_replicas(plan: RunPlan) -> int | None:
    """Return the number of engines in processes of their own; None for one engine in this process.

    Raises:
        InputError: `engine.replicas` is more than the device takes.
    """
    engine, spec = plan.config.engine, plan.engine
    if spec.device.startswith("cuda"):
        return len(local_seats(plan))
    if engine.per_device > 1:
        raise InputError(
            f"engine.per_device is {engine.per_device}, but the device is {spec.device}; it is for GPUs with CUDA: on "
            "the CPU set engine.replicas"
        )
    if engine.replicas is None:
        return _worthwhile(plan)
    if spec.device != "cpu" and engine.replicas > 1:
        raise InputError(
            f"engine.replicas is {engine.replicas}, but the device is {spec.device}, which takes one engine; remove it"
        )
    return engine.replicas


def local_seats(plan: RunPlan) -> tuple[Seat, ...]:
    """Return the GPUs of every engine of a plan for CUDA on this machine; each has a process of its own.

    In the run's own process, a CUDA error that stays, or memory that a failed start has left behind, would end the run;
    and the engine would share the interpreter with Prefect and the judges.

    Raises:
        InputError: There are not enough GPUs for what is configured.
    """
    return seats(visible_cards(), plan.config.engine, plan.engine)


def local_environments(plan: RunPlan) -> list[dict[str, str]]:
    """Return the variables of every engine's process; none on the CPU, where engines differ in nothing."""
    if not plan.engine.device.startswith("cuda"):
        return []
    taken = local_seats(plan)
    return [seat_environment(seat, usable_cores() // len(taken), os.environ) for seat in taken]


def visible_cards() -> tuple[str, ...]:
    """Return what the maker calls each GPU that this process sees."""
    from thickets.tasks.engines import devices  # PyTorch: seconds

    return devices.visible_cards()


def known_replicas(plan: RunPlan) -> int | None:
    """Return the number of engines as far as the configuration tells it; None for one engine in this process.

    A Ray cluster without `replicas` counts as one engine.

    Raises:
        InputError: `engine.replicas` is more than the device takes.
    """
    if plan.config.engine.executor == "ray":
        return plan.config.engine.replicas or 1
    return local_replicas(plan)


def crowded(plan: RunPlan) -> str | None:
    """Return one line about engines that have more threads than this machine has cores; None if they have not."""
    replicas = plan.config.engine.replicas
    if plan.config.engine.executor == "ray" or replicas is None or plan.engine.device != "cpu":
        return None
    if replicas * threads_each(plan) <= (cores := usable_cores()):
        return None
    return f"{replicas} engines of {threads_each(plan)} threads share {cores} cores; they will wait for each other"


def engine_of_several(plan: RunPlan) -> EngineSpec:
    """Return the plan's engine for a process of its own or a cluster: on the CPU, with `threads_each` threads."""
    spec = plan.engine
    if spec.device.startswith("cuda"):
        return seated(spec, plan.config.engine)
    return replace(spec, threads=threads_each(plan)) if spec.device == "cpu" else spec


def threads_each(plan: RunPlan) -> int:
    """Return the CPU threads of each engine in a process of its own: `engine.threads`, else `engine.cpus`."""
    return plan.engine.threads or plan.config.engine.cpus


def _worthwhile(plan: RunPlan) -> int | None:
    """Return as many engines as there is room for where several are known to score more than one, else None.

    That is vLLM on the CPU; the answers are the same either way. A configuration that sets `engine.threads` has decided
    what one engine takes, and keeps it.
    """
    engine, spec = plan.config.engine, plan.engine
    n_answers = plan.config.population.size * sum(plan.block_sizes("selection"))
    if spec.kind != "vllm" or spec.device != "cpu" or spec.threads is not None or spec.vllm.tensor_parallel > 1:
        return None
    if n_answers < _WORTHWHILE_ANSWERS:
        return None
    by_memory = int(_MEMORY_SHARE * usable_memory_bytes()) // engine_bytes(plan)
    fitting = min(usable_cores() // engine.cpus, by_memory)
    return fitting if fitting > 1 else None


def engine_bytes(plan: RunPlan) -> int:
    """Estimate the memory, in bytes, that one engine on the CPU takes."""
    each = _FLOAT32_BYTES if plan.engine.dtype == "float32" else plan.base.size_bytes / plan.base.n_parameters
    return int(_COPIES * plan.base.n_parameters * each) + _LIBRARIES_BYTES
