"""Ensemble evaluation: K is chosen on the validation split, and the test split is read once, for that K."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.scores import BASE_ID, ScoreStore
from tasks.aggregation import ScoreBook
from tasks.controls import Controls, count_tokens, judge_controls
from tasks.results import AnswerTokens, CurvePoint, Evaluation
from tasks.statistics import accuracy, paired_difference
from tasks.voting import VoteRule, ballots, choose_k, curve, vote


def curve_points(cast: pl.DataFrame, k_values: Sequence[int], rule: VoteRule) -> tuple[CurvePoint, ...]:
    """Accuracy with interval for each K."""
    return tuple(
        CurvePoint(k=k, rule=rule, accuracy=accuracy(n_correct, n))
        for k, n_correct, n in curve(cast, k_values, rule).iter_rows()
    )


def choose(points: Sequence[CurvePoint]) -> int:
    """The K of a validation curve; see `tasks.voting.choose_k`."""
    return choose_k(pl.DataFrame({"k": [p.k for p in points], "n_correct": [p.accuracy.n_correct for p in points]}))


def evaluate(
    store: ScoreStore, experts: pl.DataFrame, k: int, rule: VoteRule, controls: Controls | None = None
) -> Evaluation:
    """Compare base, best single expert (rank 1), controls and the vote of `k` on the test split."""
    cast = ballots(store, "test", experts.head(k))
    voted = vote(cast, k, rule)["correct"].to_list()
    base = store.answers("test", [BASE_ID])["correct"].to_list()
    single = cast.filter(pl.col("rank") == 1)["correct"].to_list()
    asked = experts.head(k)["candidate_id"].to_list()
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
        n_tokens=AnswerTokens(
            base=count_tokens(store, "test", [BASE_ID]),
            best_single=count_tokens(store, "test", asked[:1]),
            ensemble=count_tokens(store, "test", asked),
        ),
        controls=judge_controls(store, controls or Controls(), voted, base),
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
def evaluate_ensemble(book: ScoreBook, experts: pl.DataFrame, k: int, rule: VoteRule, controls: Controls) -> Evaluation:
    """Prefect task over `evaluate`."""
    with book.open() as store:
        return evaluate(store, experts, k, rule, controls)
