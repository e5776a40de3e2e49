"""Ensemble evaluation: validation chooses method, vote rule and K; the test split is read once, for that choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import polars as pl

from thickets.storage.scores.database import BASE_ID, ScoreStore
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.evaluation.controls import Controls, count_tokens, judge_controls
from thickets.tasks.evaluation.voting import ballots, curve, vote
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.results.evaluation import AnswerTokens, CurvePoint, Evaluation, Method, VoteRule
from thickets.tasks.statistics import accuracy, accuracy_of, paired_difference, shares
from thickets.tasks.task import task


def curve_points(
    cast: pl.DataFrame,
    k_values: Sequence[int],
    rule: VoteRule,
    method: Method = "top_k",
    consensus: Consensus = MAJORITY,
) -> tuple[CurvePoint, ...]:
    """Compute the vote's mean score, with its interval, for each K."""
    return tuple(
        CurvePoint(method=method, k=k, rule=rule, accuracy=accuracy(*sums))
        for k, *sums in curve(cast, k_values, rule, consensus).iter_rows()
    )


def choose(points: Iterable[CurvePoint], methods: Sequence[Method], votes: Sequence[VoteRule]) -> CurvePoint:
    """Return the point with the largest sum of scores on the validation split.

    Ties go to the smallest K, which costs least; then to the earlier in `methods`, then to the earlier in `votes`.
    """
    return min(points, key=lambda p: (-p.accuracy.total, p.k, methods.index(p.method), votes.index(p.rule)))


def evaluate(
    store: ScoreStore,
    experts: pl.DataFrame,
    k: int,
    rule: VoteRule,
    controls: Controls | None = None,
    *,
    method: Method = "top_k",
    best_single: str | None = None,
    consensus: Consensus = MAJORITY,
) -> Evaluation:
    """Compare base, best single expert, controls and the vote of `k` on the test split.

    Args:
        store: Scores of the run.
        experts: As `thickets.tasks.selection.ranking.rank_by` gives them.
        k: Number of experts that vote, by rank.
        rule: The vote rule.
        controls: Controls to compare with.
        method: The method that ranked the experts.
        best_single: Id of the candidate with the best selection score, voting or not; empty: the first expert.
        consensus: How answers vote.
    """
    cast = ballots(store, "test", experts.head(k))
    voted = vote(cast, k, rule, consensus)
    base = store.answers("test", [BASE_ID])
    voters = experts.head(k)["candidate_id"].to_list()
    best = best_single or voters[0]
    single = store.answers("test", [best])
    return Evaluation(
        method=method,
        k=k,
        rule=rule,
        base=accuracy_of(base),
        best_single=accuracy_of(single),
        ensemble=accuracy_of(voted),
        ensemble_minus_base=paired_difference(shares(voted), shares(base)),
        best_single_minus_base=paired_difference(shares(single), shares(base)),
        ensemble_minus_best_single=paired_difference(shares(voted), shares(single)),
        test_curve=curve_points(cast, range(1, k + 1), rule, method, consensus),
        n_tokens=AnswerTokens(
            base=count_tokens(store, "test", [BASE_ID]),
            best_single=count_tokens(store, "test", [best]),
            ensemble=count_tokens(store, "test", voters),
        ),
        controls=judge_controls(store, controls or Controls(), voted, base, consensus),
        metric=consensus.metric,
    )


@task("choose-k", retries=2, retry_delays_s=[2])
def choose_on_validation(
    book: ScoreBook,
    rankings: Mapping[Method, pl.DataFrame],
    k_values: Sequence[int],
    votes: Sequence[VoteRule],
    consensus: Consensus = MAJORITY,
) -> tuple[CurvePoint, tuple[CurvePoint, ...]]:
    """Choose method, vote rule and K from the validation curves (Prefect task).

    Args:
        book: The run's scores.
        rankings: The candidates of every method, as `ranking.rank_by` gives them, in the order listed.
        k_values: The K to choose from, ascending.
        votes: The vote rules to choose from.
        consensus: How answers vote.

    Returns:
        The choice; and for every method, every vote rule (listed or not: it costs nothing) and every K a point.
    """
    with book.open() as store:
        cast = {method: ballots(store, "validation", ranked) for method, ranked in rankings.items()}
    every_k = range(1, k_values[-1] + 1)
    points = tuple(
        point
        for method in cast
        for rule in get_args(VoteRule)
        for point in curve_points(cast[method], every_k, rule, method, consensus)
    )
    tried = [point for point in points if point.k in k_values and point.rule in votes]
    return choose(tried, tuple(rankings), votes), points


@task("evaluate-ensemble", retries=2, retry_delays_s=[2])
def evaluate_ensemble(
    book: ScoreBook,
    experts: pl.DataFrame,
    choice: CurvePoint,
    best_single: str,
    controls: Controls,
    consensus: Consensus = MAJORITY,
) -> Evaluation:
    """Run `evaluate` as a Prefect task."""
    with book.open() as store:
        return evaluate(
            store,
            experts,
            choice.k,
            choice.rule,
            controls,
            method=choice.method,
            best_single=best_single,
            consensus=consensus,
        )
