"""The vote as a table: one row per question and answer, the winning answer first."""

from __future__ import annotations

import polars as pl

from thickets.tasks.evaluation.voting import tally, vote
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.results.evaluation import VoteRule
from thickets.tasks.types import FULL

VOTE_TABLE_SCHEMA = pl.Schema(
    {
        "example_id": pl.String(),
        "place": pl.Int32(),
        "answer": pl.String(),
        "wins": pl.Boolean(),
        "n_experts": pl.Int32(),
        "votes": pl.Int64(),
        "share": pl.Float64(),
        "margin": pl.Float64(),
        "correct": pl.Boolean(),
        "score": pl.UInt16(),
        "best_rank": pl.Int32(),
        "n_abstain": pl.Int32(),
    }
)


def vote_table(ballots: pl.DataFrame, k: int, rule: VoteRule, consensus: Consensus = MAJORITY) -> pl.DataFrame:
    """Put the vote of the first `k` experts into one table; its winners are those of `voting.vote`.

    Args:
        ballots: As in `thickets.tasks.evaluation.voting.BALLOT_SCHEMA`.
        k: Experts of rank 1 to k vote.
        rule: One vote each, or `weight` votes each.
        consensus: How answers vote.

    Returns:
        As in `VOTE_TABLE_SCHEMA`, questions in the order of first appearance, answers by place. `share` is the answer's
        part of the votes, or its mean similarity to the other experts' answers (in whole thousandths; null where there
        is no other) where the closest one wins; `margin` is the winner's share less the second's, the same for every
        answer to a question. A question on which all abstain has one row, without an answer, that wins with no votes.
    """
    voted = vote(ballots, k, rule, consensus).with_row_index("nth")
    counted = tally(ballots, k, rule, consensus).with_columns(place=pl.int_range(pl.len()).over("example_id") + 1)
    if consensus.is_closest:
        share = pl.col("similarity") / FULL
    else:  # with weights of 0 there may be answers and no votes
        share = pl.when(pl.col("total") > 0).then(pl.col("votes") / pl.col("total"))
    table = (
        voted.select("nth", "example_id", "total", "n_abstain")
        .join(counted, on="example_id", how="left")
        .with_columns(share=share, place=pl.col("place").fill_null(1))
        .sort("nth", "place")
    )
    second = pl.col("share").filter(pl.col("place") == 2).first().over("example_id")
    return table.select(
        "example_id",
        pl.col("place").cast(pl.Int32),
        "answer",
        wins=pl.col("place") == 1,
        n_experts=pl.col("n_experts").fill_null(0).cast(pl.Int32),
        votes=pl.col("votes").fill_null(0).cast(pl.Int64),
        share=pl.col("share"),
        margin=pl.col("share").first().over("example_id") - second.fill_null(0),
        correct=pl.col("correct").fill_null(value=False),
        score=pl.col("score").fill_null(0).cast(pl.UInt16),
        best_rank=pl.col("best_rank").cast(pl.Int32),
        n_abstain=pl.col("n_abstain").cast(pl.Int32),
    )
