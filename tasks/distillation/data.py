"""Which responses a student is trained on: pure rules over the answers of experts and base.

Labelled examples (Gan & Isola 2026, distillation): hard for the base, and the response gives the ensemble's answer,
which is verified correct. Unlabelled ones: no verdict is looked at; the ensemble's answer must lead by a margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.tasks.distillation.results import DataReport
from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, vote
from thickets.tasks.problems.consensus import MAJORITY, Consensus
from thickets.tasks.problems.judging import Judge
from thickets.tasks.results.evaluation import VoteRule
from thickets.tasks.types import Example

STUDENT, REJECTION, LABELS = "student", "rejection_sampling", "labels"

ROW_SCHEMA = pl.Schema(
    {
        "arm": pl.String,
        "row": pl.UInt32,
        "example_id": pl.String,
        "source": pl.String,
        "rule": pl.String,
        "response": pl.String,
    }
)
"""One row of training data: `arm` is trained on it, `source` (an expert, a sample of the base, "label") wrote it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept.

    Attributes:
        hard_only: Only examples that the base gets wrong in more than half of its attempts.
        max_per_example: Most rows of one example.
        margin: None where examples are labelled, else the least lead of the ensemble's answer, as a share of the votes.
    """

    hard_only: bool = True
    max_per_example: int = 4
    margin: float | None = None


def student_rows(
    experts: pl.DataFrame,
    attempts: pl.DataFrame,
    rules: Rules,
    vote_rule: VoteRule = "majority",
    consensus: Consensus = MAJORITY,
) -> tuple[pl.DataFrame, DataReport]:
    """Choose among the experts' responses.

    Args:
        experts: As in `BALLOT_SCHEMA`, with completion and finish_reason; in the order of the examples.
        attempts: The base's samples: example_id, answer, correct.
        rules: What is kept.
        vote_rule: How the experts vote.
        consensus: How answers vote.

    Returns:
        As in `ROW_SCHEMA`, ordered by example and rank; and the account of kept and dropped responses.
    """
    votes = _with_margin(experts, vote_rule, consensus)
    if rules.margin is None:
        chosen = votes.filter("correct")
        rule = "ensemble's answer, verified"
    else:
        chosen = votes.filter(pl.col("answer").is_not_null() & (pl.col("margin") >= rules.margin))
        rule = f"ensemble's answer, margin at least {rules.margin:g}"
    hard = _hard(attempts, votes, labelled=rules.margin is None)
    if rules.hard_only:
        eligible = chosen.join(hard, on="example_id", how="semi")
        rule = f"hard for the base, {rule}"
    else:
        eligible = chosen
    agreeing = experts.join(eligible.select("example_id", "answer"), on=["example_id", "answer"], how="semi")
    # A response that was cut off would teach the student to break off where it was.
    whole = agreeing.filter((pl.col("finish_reason") == "stop") & (pl.col("completion").str.strip_chars() != ""))
    ordered = _in_order(whole, experts)
    distinct = ordered.unique(["example_id", "completion"], keep="first", maintain_order=True)
    capped = distinct.filter(pl.int_range(pl.len()).over("example_id") < rules.max_per_example)
    rows = _as_rows(
        STUDENT, capped.select("example_id", response="completion", rule=pl.lit(rule), source="candidate_id")
    )
    return rows, DataReport(
        n_examples=votes.height,
        n_hard=hard.height,
        n_ensemble=chosen.height,
        n_eligible=eligible.height,
        n_agreeing=agreeing.height,
        n_cut_off=agreeing.height - whole.height,
        n_repeated=whole.height - distinct.height,
        n_over_cap=distinct.height - capped.height,
        n_rows=rows.height,
    )


def rejection_rows(attempts: pl.DataFrame, n_rows: int, max_per_example: int) -> pl.DataFrame:
    """The base's own verified-correct samples: one of every example, then a second, until there are enough.

    Args:
        attempts: candidate_id, example_id, correct, completion, finish_reason; in the order of the attempts.
        n_rows: As many as the student has; there may be fewer.
        max_per_example: Most rows of one example.
    """
    right = attempts.filter(pl.col("correct") & (pl.col("finish_reason") == "stop"))
    distinct = right.unique(["example_id", "completion"], keep="first", maintain_order=True)
    numbered = distinct.with_columns(nth=pl.int_range(pl.len()).over("example_id"))
    spread = numbered.filter(pl.col("nth") < max_per_example).sort("nth", maintain_order=True)
    rows = spread.head(n_rows).select(
        "example_id", response="completion", rule=pl.lit("base's own sample, verified"), source="candidate_id"
    )
    return _as_rows(REJECTION, rows)


def label_rows(judge: Judge, examples: Sequence[Example], first: Sequence[str], n_rows: int) -> pl.DataFrame:
    """Gold answers as responses, where the problem's own verifier accepts them as such.

    Args:
        judge: Judges the gold answer as if a model had written it.
        examples: The training examples.
        first: Ids of those to take before all others: the ones that the student is trained on.
        n_rows: As many as the student has; there may be fewer.
    """
    wanted = set(first)
    ordered = sorted(examples, key=lambda example: example.id not in wanted)  # stable: else their own order
    rows = [
        {"example_id": example.id, "response": example.answer, "rule": "gold answer", "source": "label"}
        for example in ordered
        if judge.of_answer(judge.extract(example.answer, example), example).correct
    ]
    empty = dict.fromkeys(("example_id", "response", "rule", "source"), pl.String)
    return _as_rows(LABELS, pl.DataFrame(rows[:n_rows], schema=empty))


def _with_margin(experts: pl.DataFrame, rule: VoteRule, consensus: Consensus) -> pl.DataFrame:
    """The vote, with the lead of its answer over the runner-up as a share of the votes cast."""
    cast = experts.select(BALLOT_SCHEMA.names())
    k = int(cast.select(pl.col("rank").max()).item() or 0)
    votes = vote(cast, k, rule, consensus)
    losers = cast.join(votes.select("example_id", "answer"), on=["example_id", "answer"], how="anti")
    second = vote(losers, k, rule).select("example_id", second="votes")
    return (
        votes.join(second, on="example_id", how="left", maintain_order="left")
        .with_columns(pl.col("second").fill_null(0))
        .with_columns(margin=(pl.col("votes") - pl.col("second")) / pl.col("total").clip(1))
    )


def _hard(attempts: pl.DataFrame, votes: pl.DataFrame, *, labelled: bool) -> pl.DataFrame:
    """Examples that the base gets wrong in more than half of its attempts; without labels, other than the ensemble."""
    wrong = ~pl.col("correct") if labelled else ~pl.col("answer").eq_missing(pl.col("voted"))
    return (
        attempts.join(votes.select("example_id", voted="answer"), on="example_id", how="left", maintain_order="left")
        .group_by("example_id", maintain_order=True)
        .agg(n_wrong=wrong.sum().cast(pl.Int64), n=pl.len().cast(pl.Int64))
        .filter(2 * pl.col("n_wrong") > pl.col("n"))
        .select("example_id")
    )


def _in_order(responses: pl.DataFrame, experts: pl.DataFrame) -> pl.DataFrame:
    """Responses in the order of the examples, then of the ranks."""
    examples = experts.select("example_id").unique(maintain_order=True).with_row_index("place")
    return responses.join(examples, on="example_id", maintain_order="left").sort("place", "rank")


def _as_rows(arm: str, rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.with_columns(arm=pl.lit(arm))
        .with_row_index("row")
        .select(pl.col(name).cast(dtype) for name, dtype in ROW_SCHEMA.items())
    )
