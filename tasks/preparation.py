"""The Prefect tasks that begin a run: find the base model and draw the splits."""

from __future__ import annotations

from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import Problem
from thickets.tasks.problems.splits import Draw, Splits, draw_splits
from thickets.tasks.task import task


@task(
    "prepare-base-model",
    retries=2,
    retry_delays_s=[5, 30],  # a hub download may fail half-way
)
def prepare_base_model(spec: str, revision: str | None, *, trust_remote_code: bool) -> BaseModelRef:
    """Prefect task over `thickets.tasks.engines.base_model.find_base_model`."""
    return find_base_model(spec, revision, trust_remote_code=trust_remote_code)


@task("draw-splits")
def prepare_splits(problem: Problem, draw: Draw) -> Splits:
    """Prefect task over `thickets.tasks.problems.splits.draw_splits`."""
    return draw_splits(problem, **draw)
