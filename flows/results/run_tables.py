"""Tables about a run's vote and prompts that stand beside its scores in SQL (docs/sql.md): made when they are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import polars as pl

from thickets.flows.results.stored import one_line, stored_summary
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.late_tables import LateTable
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.evaluation.vote_table import VOTE_TABLE_SCHEMA, vote_table
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.types import FULL

_MakeTable: TypeAlias = Callable[[ScoreQueries, RunSummary], pl.DataFrame]

_OUTCOMES = {(False, True): "fixed", (True, False): "broken", (True, True): "retained", (False, False): "still wrong"}

EXPERTS = pl.Schema(
    {
        "rank": pl.Int32(),
        "candidate_id": pl.String(),
        "seed": pl.UInt64(),
        "sigma": pl.Float64(),
        "weight": pl.Int64(),
        "selection_accuracy": pl.Float64(),
        "validation_accuracy": pl.Float64(),
        "test_accuracy": pl.Float64(),
        "selection_mean_score": pl.Float64(),
        "validation_mean_score": pl.Float64(),
        "test_mean_score": pl.Float64(),
        "agreement": pl.Float64(),
        "n_tokens": pl.Int64(),
        "tokens_per_answer": pl.Float64(),
        "share_cut_off": pl.Float64(),
        "share_abstained": pl.Float64(),
        "run_id": pl.String(),
    }
)
VOTES = pl.Schema(
    {
        "split": pl.String(),
        **VOTE_TABLE_SCHEMA,
        "position": pl.Int32(),
        "question": pl.String(),
        "gold": pl.String(),
        "run_id": pl.String(),
    }
)
OUTCOMES = pl.Schema(
    {
        "example_id": pl.String(),
        "outcome": pl.String(),
        "fate": pl.String(),
        "base_answer": pl.String(),
        "vote_answer": pl.String(),
        "base_correct": pl.Boolean(),
        "vote_correct": pl.Boolean(),
        "base_score": pl.UInt16(),
        "vote_score": pl.UInt16(),
        "share": pl.Float64(),
        "margin": pl.Float64(),
        "n_answers": pl.Int32(),
        "n_right": pl.Int32(),
        "n_abstain": pl.Int32(),
        "n_experts": pl.Int32(),
        "position": pl.Int32(),
        "question": pl.String(),
        "gold": pl.String(),
        "run_id": pl.String(),
    }
)
PROMPTS = pl.Schema(
    {
        "split": pl.String(),
        "example_id": pl.String(),
        "position": pl.Int32(),
        "prompt": pl.String(),
        "n_tokens": pl.UInt32(),
        "image": pl.String(),
        "run_id": pl.String(),
    }
)

# What the experts scored on each split, and what their test answers cost. Sums of whole numbers: the same in any order.
_EXPERT_SCORES = " ".join(
    [
        "SELECT candidate_id, seed, sigma,",
        *(
            f"count_if(correct AND split = '{split}') / nullif(count_if(split = '{split}'), 0) AS {split}_accuracy, "
            f"sum(score) FILTER (split = '{split}') / (1000 * nullif(count_if(split = '{split}'), 0)) "
            f"AS {split}_mean_score,"
            for split in ("selection", "validation", "test")
        ),
        "sum(n_tokens) FILTER (split = 'test') AS n_tokens,",
        "sum(n_tokens) FILTER (split = 'test') / count_if(split = 'test') AS tokens_per_answer,",
        "count_if(finish_reason = 'length' AND split = 'test') / count_if(split = 'test') AS share_cut_off,",
        "count_if(answer IS NULL AND split = 'test') / count_if(split = 'test') AS share_abstained",
        "FROM scores JOIN candidates USING (run_id, candidate_id)",
        "WHERE run_id = $run_id AND list_contains($ids, candidate_id) GROUP BY ALL",
    ]
)
_QUESTIONS = "SELECT split, example_id, position, question, answer AS gold FROM examples WHERE run_id = ?"


def run_tables(folder: RunFolder) -> dict[str, LateTable]:
    """Return the tables of a run, finished or not, by name; nothing is read before a query names them."""

    def of_the_vote(
        name: str, schema: pl.Schema, make: Callable[[ScoreQueries, RunSummary], pl.DataFrame]
    ) -> LateTable:
        why = "" if folder.summary.is_file() else _not_finished(name, folder)
        return LateTable(schema, lambda scores: make(scores, _summary(name, folder)), why)

    return {
        "experts": of_the_vote("experts", EXPERTS, experts_table),
        "votes": of_the_vote("votes", VOTES, votes_table),
        "outcomes": of_the_vote("outcomes", OUTCOMES, outcomes_table),
        "prompts": LateTable(PROMPTS, partial(_prompts_table, folder), _no_prompts(folder)),
    }


def experts_table(scores: ScoreQueries, summary: RunSummary) -> pl.DataFrame:
    """Return the candidates that vote, by rank; see `EXPERTS`."""
    experts = experts_of(summary)
    found = scores.query(_EXPERT_SCORES, {"run_id": scores.run_id, "ids": experts["candidate_id"].to_list()})
    agreeing = _agreement(ballots(scores, "test", experts), summary)
    return (
        experts.join(found, on="candidate_id", how="left", maintain_order="left")
        .with_columns(agreement=pl.col("rank").replace_strict(agreeing, default=None, return_dtype=pl.Float64))
        .with_columns(run_id=pl.lit(scores.run_id))
    )


def votes_table(scores: ScoreQueries, summary: RunSummary) -> pl.DataFrame:
    """Return the vote on every validation and test question; see `VOTES`."""
    experts, evaluation = experts_of(summary), summary.evaluation
    tables = [
        vote_table(
            ballots(scores, split, experts), evaluation.k, evaluation.rule, Consensus(evaluation.metric)
        ).with_columns(split=pl.lit(split))
        for split in ("validation", "test")
    ]
    return _with_questions(pl.concat(tables), scores)


def outcomes_table(scores: ScoreQueries, summary: RunSummary) -> pl.DataFrame:
    """Return what the vote made of every test question, beside the base; see `OUTCOMES`.

    The fates of the questions that changed are those that the run has recorded: they rest on how the base's replies
    were read.
    """
    evaluation, consensus = summary.evaluation, Consensus(summary.evaluation.metric)
    cast = ballots(scores, "test", experts_of(summary))
    table = vote_table(cast, evaluation.k, evaluation.rule, consensus)
    answers = table.group_by("example_id").agg(n_answers=pl.col("answer").count())
    experts = cast.group_by("example_id").agg(n_right=pl.col("correct").sum(), n_experts=pl.len())
    base = scores.answers("test", [BASE_ID]).select(
        "example_id", base_answer="answer", base_correct="correct", base_score="score"
    )
    rows = (
        table.filter("wins")
        .rename({"answer": "vote_answer", "correct": "vote_correct", "score": "vote_score"})
        .drop("n_experts")
        .join(base, on="example_id", how="left", maintain_order="left")
        .join(answers, on="example_id", how="left", maintain_order="left")
        .join(experts, on="example_id", how="left", maintain_order="left")
    )
    outcome = [_OUTCOMES[each] for each in rows.select("base_correct", "vote_correct").iter_rows()]
    changed, same = summary.thicket.changed, {"retained": "retained", "still wrong": "still_wrong"}
    fate = [same.get(word) or changed.get(name) for word, name in zip(outcome, rows["example_id"], strict=True)]
    rows = rows.with_columns(outcome=pl.Series(outcome, dtype=pl.String), fate=pl.Series(fate, dtype=pl.String))
    return _with_questions(rows.with_columns(split=pl.lit("test")), scores)


def _agreement(cast: pl.DataFrame, summary: RunSummary) -> dict[int, float]:
    """Return how far each expert agrees with the vote, by rank: see docs/sql.md."""
    evaluation, consensus = summary.evaluation, Consensus(summary.evaluation.metric)
    winners: dict[str, Any] = dict(
        vote(cast, evaluation.k, evaluation.rule, consensus).select("example_id", "answer").iter_rows()
    )
    total = dict.fromkeys(cast["rank"].unique().to_list(), 0)
    for (name,), group in cast.drop_nulls("answer").group_by("example_id", maintain_order=True):
        ranks, answers = group.sort("rank").select("rank", "answer").get_columns()
        if consensus.is_closest:
            place = answers.index_of(winners[str(name)])
            found = consensus.pairs(answers.to_list())[place].tolist()
        else:
            found = [FULL * (answer == winners[str(name)]) for answer in answers]
        for rank, similarity in zip(ranks, found, strict=True):
            total[rank] += similarity
    n = cast["example_id"].n_unique()
    return {rank: points / (FULL * n) for rank, points in total.items()}


def _with_questions(rows: pl.DataFrame, scores: ScoreQueries) -> pl.DataFrame:
    """Add position, question, gold answer and run to rows with split and example_id, and order them."""
    questions = scores.query(_QUESTIONS, [scores.run_id])
    return (
        rows.join(questions, on=["split", "example_id"], how="left", maintain_order="left")
        .with_columns(run_id=pl.lit(scores.run_id))
        .sort("split", "position", maintain_order=True)
    )


def _prompts_table(folder: RunFolder, scores: ScoreQueries) -> pl.DataFrame:
    try:
        found = pl.read_parquet(folder.prompts, hive_partitioning=False)
        return found.select(set(PROMPTS.names()) - {"run_id"}).with_columns(run_id=pl.lit(scores.run_id))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"prompts: cannot read {folder.prompts}: {one_line(error)}") from None


def _summary(name: str, folder: RunFolder) -> RunSummary:
    summary = stored_summary(folder)
    if summary is None:
        raise InputError(f"{name}: {folder.summary} does not fit this version; run its config again: {folder.config}")
    return summary


def _not_finished(name: str, folder: RunFolder) -> str:
    return (
        f"{name}: run {folder.run_id} is not finished, and who votes is chosen at its end; until then there are "
        "leaderboard, sigma_statistics, example_difficulty and the other views of the scores"
    )


def _no_prompts(folder: RunFolder) -> str:
    if folder.prompts.is_file():
        return ""
    return (
        f"prompts: run {folder.run_id} has recorded none, as earlier versions did; run its config again, which answers "
        f"nothing twice: {folder.config}"
    )
