"""Verdicts: one sentence per comparison. Needs no SciPy, so a stored result is shown at once."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.evaluation import Difference
from thickets.tasks.results.text import points, rounded_up

Kind = Literal["better", "worse", "not distinguishable"]


class Verdict(BaseModel):
    """The outcome of a comparison, and a sentence that states it."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    sentence: str


def verdict(difference: Difference, ours: str, theirs: str) -> Verdict:
    """Judge a difference on the test split by `Difference.is_clear`.

    Args:
        difference: Ours minus theirs.
        ours: Name with its article: "the ensemble".
        theirs: Likewise.
    """
    kind: Kind = "not distinguishable"
    if difference.is_clear:
        kind = "better" if difference.value > 0 else "worse"
    relation = f"{kind} {'from' if kind == 'not distinguishable' else 'than'}"
    sentence = f"{ours[:1].upper()}{ours[1:]} is {relation} {theirs}: {points(difference)} points{_counts(difference)}"
    if kind == "not distinguishable":
        sentence += f"; {_needed(difference)}"
    return Verdict(kind=kind, sentence=sentence + ".")


def _counts(difference: Difference) -> str:
    return f" on {difference.n} test examples ({difference.n_better} gained, {difference.n_worse} lost)"


def _needed(difference: Difference) -> str:
    if difference.examples_needed is None:
        return "no number of examples tells a difference of 0"
    return f"to tell a difference of this size, about {rounded_up(difference.examples_needed)} would be needed"
