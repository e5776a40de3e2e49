"""Tables for the pages: made once from a run's scores, then asked with filters, an order, LIMIT and OFFSET."""

from __future__ import annotations

import polars as pl

from thickets.flows.results.stored import stored_summary
from thickets.flows.results.summary import experts_of
from thickets.storage.home import RunFolder
from thickets.storage.scores.late_tables import LateTable
from thickets.storage.scores.queries import ScoreQueries

BOARD = pl.Schema(
    {
        "place": pl.Int32(),
        "expert": pl.Int32(),
        "candidate_id": pl.String(),
        "seed": pl.UInt64(),
        "sigma": pl.Float64(),
        "n": pl.Int32(),
        "n_correct": pl.Int32(),
        "score": pl.Float64(),
        "validation": pl.Float64(),
        "test": pl.Float64(),
        "agreement": pl.Float64(),
        "tokens": pl.Float64(),
        "n_cut_off": pl.Int32(),
        "share_cut_off": pl.Float64(),
        "share_abstained": pl.Float64(),
    }
)
"""Base and candidates: place on the leaderboard, rank as an expert, and what they wrote on the selection split."""

QUESTIONS = pl.Schema(
    {
        "split": pl.String(),
        "example_id": pl.String(),
        "position": pl.Int32(),
        "question": pl.String(),
        "gold": pl.String(),
        "base_answer": pl.String(),
        "base_correct": pl.Boolean(),
        "base_cut_off": pl.Boolean(),
        "base_shard": pl.String(),
        "n": pl.Int32(),
        "n_right": pl.Int32(),
        "n_abstain": pl.Int32(),
        "n_cut_off": pl.Int32(),
        "n_answers": pl.Int32(),
        "outcome": pl.String(),
        "fate": pl.String(),
        "vote_answer": pl.String(),
        "vote_correct": pl.Boolean(),
        "share": pl.Float64(),
        "margin": pl.Float64(),
    }
)
"""Every question: what the base made of it, those that answered beside it, and of a finished run's test split the vote.

Beside the base, the experts answer the test split of a finished run; elsewhere the candidates do.
"""

_BOARD = """
WITH counted AS (
    SELECT
        candidate_id, seed, sigma, position,
        count_if(split = 'selection')::INTEGER AS n,
        count_if(correct AND split = 'selection')::INTEGER AS n_correct,
        sum(score) FILTER (split = 'selection') / (1000 * nullif(n, 0)) AS score,
        sum(score) FILTER (split = 'validation') / (1000 * nullif(count_if(split = 'validation'), 0)) AS validation,
        sum(score) FILTER (split = 'test') / (1000 * nullif(count_if(split = 'test'), 0)) AS test,
        sum(n_tokens) FILTER (split = 'selection') / nullif(n, 0) AS tokens,
        count_if(finish_reason = 'length' AND split = 'selection')::INTEGER AS n_cut_off,
        n_cut_off / nullif(n, 0) AS share_cut_off,
        count_if(answer IS NULL AND split = 'selection') / nullif(n, 0) AS share_abstained
    FROM scores
    JOIN candidates USING (run_id, candidate_id)
    WHERE position >= -1
    GROUP BY candidate_id, seed, sigma, position
)

SELECT
    CASE WHEN position >= 0 AND n > 0 AND d.candidate_id IS NULL THEN row_number() OVER (
        PARTITION BY position >= 0 AND n > 0 AND d.candidate_id IS NULL ORDER BY score * n DESC, seed, sigma
    ) END::INTEGER AS place,
    c.*
FROM counted AS c
LEFT JOIN dropped AS d USING (candidate_id)
"""
_QUESTIONS = """
SELECT
    split, example_id, e.position, question, e.answer AS gold,
    any_value(s.answer) FILTER (candidate_id = 'base') AS base_answer,
    any_value(correct) FILTER (candidate_id = 'base') AS base_correct,
    any_value(finish_reason = 'length') FILTER (candidate_id = 'base') AS base_cut_off,
    any_value(shard_id) FILTER (candidate_id = 'base') AS base_shard,
    count_if(c.position >= 0)::INTEGER AS n,
    count_if(correct AND c.position >= 0)::INTEGER AS n_right,
    count_if(s.answer IS NULL AND c.position >= 0)::INTEGER AS n_abstain,
    count_if(finish_reason = 'length' AND c.position >= 0)::INTEGER AS n_cut_off,
    count(DISTINCT s.answer) FILTER (c.position >= 0)::INTEGER AS n_answers
FROM examples AS e
LEFT JOIN scores AS s USING (run_id, split, example_id)
LEFT JOIN candidates AS c USING (run_id, candidate_id)
WHERE (c.position IS NULL OR c.position >= -1)
    AND (split <> 'test' OR c.position < 0 OR $experts IS NULL OR list_contains($experts, candidate_id))
GROUP BY split, example_id, e.position, question, gold
"""


def view_tables(folder: RunFolder) -> dict[str, LateTable]:
    """Return the tables ``board`` and ``questions`` of a run, finished or not."""
    return {
        "board": LateTable(BOARD, lambda scores: _board(scores, folder)),
        "questions": LateTable(QUESTIONS, lambda scores: _questions(scores, folder)),
    }


def is_finished(folder: RunFolder) -> bool:
    """Return whether a run has chosen who votes, in a form that this version reads."""
    return folder.summary.is_file() and stored_summary(folder) is not None


def _board(scores: ScoreQueries, folder: RunFolder) -> pl.DataFrame:
    rows = scores.query(_BOARD)
    if is_finished(folder):
        experts = scores.query("SELECT rank AS expert, candidate_id, agreement FROM experts")
        rows = rows.join(experts, on="candidate_id", how="left")
    else:
        rows = rows.with_columns(expert=pl.lit(None, pl.Int32), agreement=pl.lit(None, pl.Float64))
    return rows.sort("place", "candidate_id", nulls_last=True)


def _questions(scores: ScoreQueries, folder: RunFolder) -> pl.DataFrame:
    summary = stored_summary(folder) if folder.summary.is_file() else None
    experts = None if summary is None else experts_of(summary)["candidate_id"].to_list()
    rows = scores.query(_QUESTIONS, {"experts": experts})
    if summary is None:
        absent = {name: pl.lit(None, dtype) for name, dtype in QUESTIONS.items() if name not in rows.columns}
        return rows.with_columns(**absent).sort("split", "position")
    outcomes = scores.query(
        "SELECT 'test' AS split, example_id, outcome, fate, vote_answer, vote_correct, share, margin FROM outcomes"
    )
    return rows.join(outcomes, on=["split", "example_id"], how="left").sort("split", "position")
