"""The first tasks of a run: find the base model and draw the splits."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import Problem
from thickets.tasks.problems.splits import Splits, draw_splits
from thickets.tasks.task import is_worth_a_retry


@task(
    name="prepare-base-model",
    retries=2,
    retry_delay_seconds=[5, 30],  # a hub download may fail half-way
    retry_condition_fn=is_worth_a_retry,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def prepare_base_model(spec: str, revision: str | None, *, trust_remote_code: bool) -> BaseModelRef:
    """Prefect task over `thickets.tasks.engines.base_model.find_base_model`."""
    return find_base_model(spec, revision, trust_remote_code=trust_remote_code)


@task(name="draw-splits", cache_policy=NO_CACHE, persist_result=False)
def prepare_splits(problem: Problem, selection: int, validation: int, test: int, seed: int) -> Splits:
    """Prefect task over `thickets.tasks.problems.splits.draw_splits`."""
    return draw_splits(problem, selection=selection, validation=validation, test=test, seed=seed)
