"""The ensemble's vote: experts' answers in, one answer per example out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from thickets.tasks.evaluation import closest
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.results.evaluation import VoteRule

if TYPE_CHECKING:
    from thickets.storage.scores.queries import ScoreQueries


BALLOT_SCHEMA = pl.Schema(
    {
        "rank": pl.UInt32(),
        "weight": pl.Int64(),
        "example_id": pl.String(),
        "answer": pl.String(),
        "correct": pl.Boolean(),
        "score": pl.UInt16(),
    }
)
"""One row per expert and example. `rank` counts from 1 (the best); `answer` is null where the expert abstained.

`correct` and `score` (in thousandths) belong to the answer: equal answers to a question have equal ones.
"""


def ballots(scores: ScoreQueries, split: str, experts: pl.DataFrame) -> pl.DataFrame:
    """Return the experts' answers on a split.

    Args:
        scores: The run's scores.
        split: Name of the split.
        experts: rank, candidate_id, and their votes' weight, as `ranking.rank_by` gives them; without a weight
            it is n_correct.

    Returns:
        As in `BALLOT_SCHEMA`, by rank and then in the order of the examples.
    """
    answers = scores.answers(split, experts["candidate_id"].to_list())
    weight = "weight" if "weight" in experts.columns else "n_correct"
    ranked = experts.select("candidate_id", "rank", weight=weight)
    joined = answers.join(ranked, on="candidate_id", how="left", maintain_order="left")
    return joined.select(pl.col(name).cast(dtype) for name, dtype in BALLOT_SCHEMA.items())


def vote(ballots: pl.DataFrame, k: int, rule: VoteRule = "majority", consensus: Consensus = MAJORITY) -> pl.DataFrame:
    """Let the first `k` experts vote.

    The answer with most votes wins; ties go to the answer of the better-ranked expert. An abstention is
    never a vote, and a question on which all abstain has no answer, is wrong and scores 0. Weights are integers (of the
    selection split: correct answers, or thousandths or millionths), so a sum is exact and the same in any order.

    Args:
        ballots: As in `BALLOT_SCHEMA`.
        k: Experts of rank 1 to k vote.
        rule: One vote each, or `weight` votes each.
        consensus: What an answer's votes are: with `Consensus.metric` thousandths of votes, see
            `thickets.tasks.evaluation.closest`.

    Returns:
        Per example, in the order of first appearance: example_id, answer (null if all abstain), correct, score (that of
        the answer, in thousandths), votes for the answer, total votes cast, n_abstain; where the closest answer wins
        also similarity.
    """
    if consensus.is_closest:
        return closest.vote(ballots, k, rule, consensus.pairs)
    voters = ballots.filter(pl.col("rank") <= k)
    counted = tally(ballots, k, rule)
    winners = counted.group_by("example_id", maintain_order=True).first()
    cast = counted.group_by("example_id").agg(total=pl.col("votes").sum())
    return (
        voters.group_by("example_id", maintain_order=True)
        .agg(n_abstain=pl.col("answer").is_null().sum())
        .join(winners, on="example_id", how="left", maintain_order="left")
        .join(cast, on="example_id", how="left", maintain_order="left")
        .select(
            "example_id",
            "answer",
            pl.col("correct").fill_null(value=False),
            pl.col("score").fill_null(0),
            pl.col("votes").fill_null(0),
            pl.col("total").fill_null(0),
            "n_abstain",
        )
    )


def tally(ballots: pl.DataFrame, k: int, rule: VoteRule = "majority", consensus: Consensus = MAJORITY) -> pl.DataFrame:
    """Count the votes of the first `k` experts for every answer; see `vote`.

    Returns:
        One row per example and answer, the winning answer of an example first: example_id, answer, votes, best_rank,
        correct, score, n_experts; where the closest answer wins also similarity.
    """
    if consensus.is_closest:
        return closest.tally(ballots, k, rule, consensus.pairs)
    power = pl.col("weight") if rule == "weighted" else pl.lit(1, pl.Int64)
    voted = ballots.filter((pl.col("rank") <= k) & pl.col("answer").is_not_null()).with_columns(power=power)
    return (
        voted.group_by("example_id", "answer")
        .agg(
            votes=pl.col("power").sum(),
            best_rank=pl.col("rank").min(),
            correct=pl.col("correct").first(),
            score=pl.col("score").first(),
            n_experts=pl.len(),
        )
        .sort(["votes", "best_rank"], descending=[True, False])
    )


def curve(
    ballots: pl.DataFrame, k_values: Sequence[int], rule: VoteRule = "majority", consensus: Consensus = MAJORITY
) -> pl.DataFrame:
    """Sum the scores of the votes for each K.

    Returns:
        One row per K: k, n_correct, n, points (thousandths), squares (of the scores).
    """
    columns = pl.Schema(dict.fromkeys(("k", "n_correct", "n", "points", "squares"), pl.Int64()))
    if consensus.is_closest:
        found = closest.sums(ballots, k_values, rule, consensus.pairs)
        return pl.DataFrame(found, schema=columns, orient="row")
    score = pl.col("score").cast(pl.Int64)
    sums = [
        vote(ballots, k, rule).select(
            pl.lit(k).alias("k"),
            pl.col("correct").sum().alias("n_correct"),
            pl.len().alias("n"),
            score.sum().alias("points"),
            (score * score).sum().alias("squares"),
        )
        for k in k_values
    ]
    return pl.concat([pl.DataFrame(schema=columns), *(row.cast(columns) for row in sums)])
