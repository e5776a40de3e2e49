"""An engine of a run's own kind in this process, for a few answers before the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from thickets.flows.placement.replicas import engine_of_several, known_replicas
from thickets.flows.plan import RunPlan
from thickets.tasks.engines import Engine, EngineSpec, build_engine


@contextmanager
def short_lived_engine(plan: RunPlan, build: Callable[[EngineSpec], Engine] = build_engine) -> Iterator[Engine]:
    """Build the plan's engine with its number of threads; close it and restore this process's number afterwards.

    Args:
        plan: The run.
        build: Builds an engine.
    """
    import torch  # seconds

    n_threads = torch.get_num_threads()
    alone = plan.engine.device != "cpu" or known_replicas(plan) is None  # a GPU of its own, with all its memory
    engine = build(plan.engine if alone else engine_of_several(plan))
    try:
        yield engine
    finally:
        engine.close()
        torch.set_num_threads(n_threads)
