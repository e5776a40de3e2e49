"""Compares two engines on the same candidates and examples, by text, by answer and by score."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from thickets.storage.errors import RunError

_UNIT = ["candidate_id", "split", "example_id"]


class CandidateParity(BaseModel):
    """Counts and scores of one candidate under both engines."""

    model_config = ConfigDict(frozen=True)

    candidate_id: str
    n: int = Field(description="Examples.")
    n_same_text: int
    n_same_answer: int = Field(description="Extracted answers; two abstentions are equal.")
    n_correct_a: int
    n_correct_b: int
    score_a: float
    score_b: float
    difference: float = Field(description="score_b - score_a")


class Divergence(BaseModel):
    """One example that a candidate answers differently under the two engines."""

    model_config = ConfigDict(frozen=True)

    candidate_id: str
    example_id: str
    question: str
    gold: str
    position: int = Field(description="Characters that both completions begin with.")
    completion_a: str
    completion_b: str
    answer_a: str | None
    answer_b: str | None
    correct_a: bool
    correct_b: bool


class Parity(BaseModel):
    """Agreement of two engines; counts are over pairs of candidate and example."""

    model_config = ConfigDict(frozen=True)

    n: int
    n_same_text: int
    n_same_answer: int
    share_same_text: float
    share_same_answer: float
    mean_abs_difference: float = Field(description="Of the candidates' scores.")
    max_abs_difference: float = Field(description="Of the candidates' scores.")
    candidates: tuple[CandidateParity, ...]
    divergences: tuple[Divergence, ...] = Field(description="The first few.")


def compare(a: pl.DataFrame, b: pl.DataFrame, questions: Mapping[str, tuple[str, str]], *, n_shown: int = 3) -> Parity:
    """Compare the answers of two engines.

    Args:
        a: Rows as `thickets.tasks.scoring.units.judged` makes them, one per candidate and example.
        b: The same candidates on the same examples, in any order.
        questions: Question and gold answer by example_id.
        n_shown: Most differing examples to return. Differing answers come first, then the texts that only read
            differently; within each in the order of `a`, and one per candidate before any candidate's second.

    Raises:
        RunError: The two do not hold the same candidates and examples, or hold nothing.
    """
    pairs = a.join(b, on=_UNIT, how="left", suffix="_b", maintain_order="left", validate="1:1")
    if a.is_empty() or a.height != b.height or pairs["completion_b"].has_nulls():
        raise RunError(
            f"parity: engine A has {a.height} answers and engine B {b.height}, and not to the same questions; "
            "there is nothing to compare"
        )
    pairs = pairs.with_columns(
        same_text=pl.col("completion") == pl.col("completion_b"),
        same_answer=pl.col("answer").eq_missing(pl.col("answer_b")),
    )
    per_candidate = pairs.group_by("candidate_id", maintain_order=True).agg(
        n=pl.len(),
        n_same_text=pl.col("same_text").sum(),
        n_same_answer=pl.col("same_answer").sum(),
        n_correct_a=pl.col("correct").sum(),
        n_correct_b=pl.col("correct_b").sum(),
    )
    candidates = tuple(_candidate(row) for row in per_candidate.iter_rows(named=True))
    gaps = [abs(candidate.difference) for candidate in candidates]
    n_same_text, n_same_answer = int(pairs["same_text"].sum()), int(pairs["same_answer"].sum())
    return Parity(
        n=pairs.height,
        n_same_text=n_same_text,
        n_same_answer=n_same_answer,
        share_same_text=n_same_text / pairs.height,
        share_same_answer=n_same_answer / pairs.height,
        mean_abs_difference=sum(gaps) / len(gaps),
        max_abs_difference=max(gaps),
        candidates=candidates,
        divergences=tuple(_divergence(row, questions) for row in _to_show(pairs, n_shown).iter_rows(named=True)),
    )


def parting(one: str, other: str) -> int:
    """Count the characters that two texts have in common at their beginning."""
    return next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))


def _to_show(pairs: pl.DataFrame, count: int) -> pl.DataFrame:
    differing = pairs.filter(~pl.col("same_text") | ~pl.col("same_answer"))
    nth = pl.int_range(pl.len()).over("same_answer", "candidate_id")
    return differing.with_columns(nth=nth).sort("same_answer", "nth", maintain_order=True).head(count)


def _candidate(row: Mapping[str, object]) -> CandidateParity:
    counts = {name: int(str(row[name])) for name in row if name != "candidate_id"}
    n, a, b = counts["n"], counts["n_correct_a"], counts["n_correct_b"]
    return CandidateParity.model_validate(
        {**row, "score_a": a / n, "score_b": b / n, "difference": (b - a) / n},
    )


def _divergence(row: Mapping[str, object], questions: Mapping[str, tuple[str, str]]) -> Divergence:
    question, gold = questions[str(row["example_id"])]
    return Divergence.model_validate(
        {
            "candidate_id": row["candidate_id"],
            "example_id": row["example_id"],
            "question": question,
            "gold": gold,
            "position": parting(str(row["completion"]), str(row["completion_b"])),
            "completion_a": row["completion"],
            "completion_b": row["completion_b"],
            "answer_a": row["answer"],
            "answer_b": row["answer_b"],
            "correct_a": row["correct"],
            "correct_b": row["correct_b"],
        }
    )
