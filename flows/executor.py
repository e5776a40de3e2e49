"""Who scores a run's shards, by its configuration."""

from __future__ import annotations

from collections.abc import Callable

from flows.plan import RunPlan
from storage.shard_folder import LocalShardFolder
from tasks.engines import Engine, EngineSpec
from tasks.executors import Executor, LocalExecutor
from tasks.units import UnitReport
from tasks.worker import ScoringWorker


def open_executor(
    plan: RunPlan, on_unit: Callable[[UnitReport], None], build: Callable[[EngineSpec], Engine]
) -> Executor:
    """Make the executor that the plan asks for; engines start with their first shard.

    Args:
        plan: The run.
        on_unit: Told of every finished unit, from any thread.
        build: Builds an engine of this process; a benchmark passes its own.
    """
    return LocalExecutor(
        ScoringWorker(
            lambda: build(plan.engine),
            plan.problem,
            plan.blocks,
            plan.sampling,
            LocalShardFolder(plan.shards),
            on_unit=on_unit,
        )
    )
