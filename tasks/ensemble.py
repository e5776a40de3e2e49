"""Ensemble evaluation: K is chosen on the validation split, and the test split is read once, for that K."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict

from storage.scores import ScoreStore
from tasks.aggregation import ScoreBook
from tasks.seeds import BASE_ID
from tasks.statistics import Accuracy, Difference, accuracy, paired_difference
from tasks.voting import BALLOT_SCHEMA, VoteRule, choose_k, curve, vote


class CurvePoint(BaseModel):
    """Accuracy of a vote of K on one split."""

    model_config = ConfigDict(frozen=True)

    k: int
    rule: VoteRule
    accuracy: Accuracy


class Evaluation(BaseModel):
    """What the test split says; every accuracy is on the same examples."""

    model_config = ConfigDict(frozen=True)

    k: int
    rule: VoteRule
    base: Accuracy
    best_single: Accuracy
    ensemble: Accuracy
    ensemble_minus_base: Difference
    best_single_minus_base: Difference
    ensemble_minus_best_single: Difference
    test_curve: tuple[CurvePoint, ...]


def ballots(store: ScoreStore, split: str, experts: pl.DataFrame) -> pl.DataFrame:
    """The experts' answers on a split.

    Args:
        store: The run's scores.
        split: Which split.
        experts: rank, candidate_id, n_correct (their votes' weight), as `tasks.selection.top_k` gives them.

    Returns:
        As in `tasks.voting.BALLOT_SCHEMA`, by rank and then in the order of the examples.
    """
    answers = store.answers(split, experts["candidate_id"].to_list())
    ranked = experts.select("candidate_id", "rank", weight="n_correct")
    joined = answers.join(ranked, on="candidate_id", how="left", maintain_order="left")
    return joined.select(pl.col(name).cast(dtype) for name, dtype in BALLOT_SCHEMA.items())


def curve_points(cast: pl.DataFrame, k_values: Sequence[int], rule: VoteRule) -> tuple[CurvePoint, ...]:
    """Accuracy with interval for each K."""
    return tuple(
        CurvePoint(k=k, rule=rule, accuracy=accuracy(n_correct, n))
        for k, n_correct, n in curve(cast, k_values, rule).iter_rows()
    )


def choose(points: Sequence[CurvePoint]) -> int:
    """The K of a validation curve; see `tasks.voting.choose_k`."""
    return choose_k(pl.DataFrame({"k": [p.k for p in points], "n_correct": [p.accuracy.n_correct for p in points]}))


def evaluate(store: ScoreStore, experts: pl.DataFrame, k: int, rule: VoteRule) -> Evaluation:
    """Compare base, best single expert (rank 1) and the vote of `k` on the test split."""
    cast = ballots(store, "test", experts.head(k))
    voted = vote(cast, k, rule)["correct"].to_list()
    base = store.answers("test", [BASE_ID])["correct"].to_list()
    single = cast.filter(pl.col("rank") == 1)["correct"].to_list()
    return Evaluation(
        k=k,
        rule=rule,
        base=accuracy(sum(base), len(base)),
        best_single=accuracy(sum(single), len(single)),
        ensemble=accuracy(sum(voted), len(voted)),
        ensemble_minus_base=paired_difference(voted, base),
        best_single_minus_base=paired_difference(single, base),
        ensemble_minus_best_single=paired_difference(voted, single),
        test_curve=curve_points(cast, range(1, k + 1), rule),
    )


@task(name="choose-k", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def choose_k_on_validation(
    book: ScoreBook, experts: pl.DataFrame, k_values: Sequence[int], rule: VoteRule
) -> tuple[int, tuple[CurvePoint, ...]]:
    """Prefect task: the chosen K, and the validation curve (every K, both rules) it was chosen from."""
    with book.open() as store:
        cast = ballots(store, "validation", experts)
    every_k = range(1, k_values[-1] + 1)
    points = {r: curve_points(cast, every_k, r) for r in ("majority", "weighted")}
    tried = [point for point in points[rule] if point.k in k_values]
    return choose(tried), (*points["majority"], *points["weighted"])


@task(name="evaluate-ensemble", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def evaluate_ensemble(book: ScoreBook, experts: pl.DataFrame, k: int, rule: VoteRule) -> Evaluation:
    """Prefect task over `evaluate`."""
    with book.open() as store:
        return evaluate(store, experts, k, rule)
