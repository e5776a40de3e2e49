"""Decides where a distillation's models are trained and measured, and checks that their memory suffices there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.placement.accelerator import accelerator, hold_device
from thickets.flows.placement.seats import seat_environment
from thickets.flows.plan import RunPlan
from thickets.flows.runtime.environment import log
from thickets.tasks.distillation.child import run_in_child
from thickets.tasks.distillation.jobs import Job, Tell
from thickets.tasks.distillation.memory import ModelShape, plan_checkpointing
from thickets.tasks.scoring.executors.machine import usable_cores
from thickets.tasks.scoring.executors.ray_cluster import RayCluster

R = TypeVar("R")


class Place(Protocol):
    """Somewhere that jobs are done."""

    @property
    def device(self) -> str:
        """As a job names it there."""

    @property
    def card_bytes(self) -> int | None:
        """Memory of its GPU; None where there is none."""

    def run(self, job: Job[R], tell: Tell) -> R:
        """Do a job, and return its result."""

    def held(self) -> AbstractContextManager[None]:
        """Hold the device while jobs are done on it."""


@dataclass(frozen=True, slots=True)
class Here:
    """This process: on the CPU, where another would cost the seconds of its imports and give nothing back."""

    device: str
    card_bytes: int | None = None

    def run(self, job: Job[R], tell: Tell) -> R:
        """See `Place.run`."""
        return job.run(tell)

    def held(self) -> AbstractContextManager[None]:
        """See `Place.held`."""
        return hold_device(self.device)


@dataclass(frozen=True, slots=True)
class Child:
    """A process of its own for every job, which sees one GPU of this machine.

    Attributes:
        gpu: As PyTorch counts in this process.
        card_bytes: Its memory.
    """

    gpu: int
    card_bytes: int | None
    device: str = "cuda"

    @property
    def variables(self) -> dict[str, str]:
        """Of the process's environment."""
        return seat_environment((self.gpu,), usable_cores(), os.environ)

    def run(self, job: Job[R], tell: Tell) -> R:
        """See `Place.run`."""
        return run_in_child(job, tell, self.variables)

    def held(self) -> AbstractContextManager[None]:
        """See `Place.held`."""
        return hold_device(f"cuda:{self.gpu}")


@dataclass(frozen=True, slots=True)
class OnCluster:
    """An actor with one GPU for every job, on the cluster where the engines were."""

    cluster: RayCluster
    plan: RunPlan
    card_bytes: int | None
    device: str = "cuda"

    def run(self, job: Job[R], tell: Tell) -> R:
        """See `Place.run`."""
        from thickets.tasks.distillation.ray_child import run_on_ray

        return run_on_ray(job, tell, self.cluster)

    @contextmanager
    def held(self) -> Iterator[None]:
        """See `Place.held`."""
        with accelerator(self.plan.config.engine, self.plan.engine):
            yield


def choose_place(run: RunPlan, cluster: RayCluster | None) -> Place:
    """Choose where students of a run are trained: where its engines are."""
    if cluster is not None and run.engine.device.startswith("cuda"):
        return OnCluster(cluster, run, cluster.gpu_machine(run.engine).memory_bytes)
    import torch

    from thickets.tasks.engines.devices import pick_device

    # A cluster without GPUs may have been connected to from a machine with one.
    device = torch.device(run.engine.device) if cluster is None else pick_device("auto")
    if device.type != "cuda":
        return Here(str(device))
    gpu = device.index or 0
    return Child(gpu, int(torch.cuda.get_device_properties(gpu).total_memory))


def needs_checkpointing(plan: DistillPlan, place: Place) -> bool:
    """Return whether training has to make activations again to fit; nothing has been answered or trained yet.

    Rows are taken to be as long as a prompt and an answer of this run may be.

    Raises:
        InputError: It fits in no way.
    """
    if place.card_bytes is None:
        return False
    base, section = plan.run.base, plan.section
    needed = plan_checkpointing(
        ModelShape.of(base.path, base.n_parameters, base.size_bytes),
        section.method,
        place.card_bytes,
        rank=section.rank,
        rows=section.batch_size,
        length=plan.run.engine.max_length or 0,
    )
    if needed:
        log.info("distillation: with gradient checkpointing, since all activations of a batch would not fit")
    return needed
