"""`decoding.max_tokens: learned`: scores the base on the selection split first, which sets the run's limit.

The base answers under the problem's own limit, scored like everything else: its shards are those of a run with that
limit, so answers that are there are not generated again, and equal answers give the same limit. Nothing else is kept of
this step. The limit is then part of the run's identity like one that was written into the configuration: base,
candidates and controls are decoded under it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import Engines
from thickets.flows.plan import RunPlan, make_plan, own_limit
from thickets.flows.runtime.environment import log
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.scoring import Scoring
from thickets.flows.search.smaller_batch import watch_first_batch
from thickets.storage.errors import InputError
from thickets.storage.models.base import BaseModelRef
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.adaptive.token_limit import TokenLimit, learn_limit
from thickets.tasks.aggregation import ScoreBook, aggregate_scores
from thickets.tasks.engines import EngineSpec
from thickets.tasks.problems import Problem
from thickets.tasks.problems.splits import Splits
from thickets.tasks.seeds import POPULATION_SCHEMA

_ANSWERS = "SELECT correct, n_tokens, finish_reason FROM scores WHERE split = 'selection' AND candidate_id = ?"


def learn(
    config: RunConfig,
    base: BaseModelRef,
    problem: Problem,
    splits: Splits,
    engines: Engines,
    progress: ScoringProgress,
) -> tuple[TokenLimit, RunPlan] | None:
    """Score the base on the selection split and learn the limit; None where the configuration sets it.

    Args:
        config: The run.
        base: The base model.
        problem: The run's problem.
        splits: The three splits; only selection questions are used.
        engines: Open an executor if answers are missing, and keep it.
        progress: Counts and shows the scoring.

    Returns:
        The limit, and the plan under which the base answered.
    """
    if not config.decoding.learns_limit:
        return None
    plan = make_plan(own_limit(config), base, problem, splits, engines.resolve)
    log.info(f"decoding.max_tokens: the base answers the selection split within {plan.sampling.max_tokens} tokens each")
    plan.shard_folder.clean_temporaries()
    with _temporary_book(plan) as book:
        if not _is_complete(aggregate_scores(book), plan):
            with watch_first_batch(plan):
                Scoring(plan, book, engines.turn_to(plan), progress).ask("selection", [None], label="token limit")
        limit = _learned(book, plan)
    log.info(limit.sentence)
    return limit, plan


def recall(
    config: RunConfig,
    base: BaseModelRef,
    problem: Problem,
    splits: Splits,
    resolve: Callable[[EngineSpec], EngineSpec],
) -> TokenLimit | None:
    """Learn a finished run's limit again from the answers in its shards; nothing is generated.

    Args:
        config: The run.
        base: The base model.
        problem: The run's problem.
        splits: The three splits.
        resolve: As for `thickets.flows.plan.make_plan`.

    Raises:
        InputError: The answers are not there.
    """
    if not config.decoding.learns_limit:
        return None
    plan = make_plan(own_limit(config), base, problem, splits, resolve)
    with _temporary_book(plan) as book:
        if not _is_complete(aggregate_scores(book), plan):
            raise InputError(
                f"RUN: decoding.max_tokens is learned, and the answers of the base that tell the limit are not in "
                f"{plan.shard_location}; run the configuration (again) first"
            )
        return _learned(book, plan)


@contextmanager
def _temporary_book(plan: RunPlan) -> Iterator[ScoreBook]:
    """Open a score book for the base alone, in a temporary folder: before its limit is known a run has none."""
    nobody = pl.DataFrame(schema=POPULATION_SCHEMA)
    with TemporaryDirectory(prefix="thickets-") as folder:
        yield plan.book(Path(folder) / "scores.duckdb", plan.run_id, nobody, "selection")


def _is_complete(done: pl.DataFrame, plan: RunPlan) -> bool:
    return done.height == plan.n_blocks("selection")


def _learned(book: ScoreBook, plan: RunPlan) -> TokenLimit:
    with book.open() as store:
        return learn_limit(store.query(_ANSWERS, [BASE_ID]), plan.sampling.max_tokens)
