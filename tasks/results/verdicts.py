"""Verdicts: one sentence per comparison. Needs no SciPy, so a stored result is shown at once."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.text import points, rounded_up

Kind = Literal["better", "worse", "not distinguishable"]


class Verdict(BaseModel):
    """The outcome of a comparison, in sentences.

    Attributes:
        sentence: The outcome with its counts.
        brief: The same without counts and cost, for the few lines at the end of a run.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    sentence: str
    brief: str


def verdict(difference: Difference, ours: str, theirs: str, *, cost: str = "", is_expectation: bool = False) -> Verdict:
    """Judge a difference on the test split by `Difference.is_clear`.

    Args:
        difference: Ours minus theirs.
        ours: Name with its article: "the ensemble".
        theirs: Likewise.
        cost: What the comparison cost, behind their name: "for 0.93 times its tokens".
        is_expectation: Whether theirs is a number, against which no example is gained or lost.
    """
    kind: Kind = "not distinguishable"
    if difference.is_clear:
        kind = "better" if difference.value > 0 else "worse"
    head = f"{ours[:1].upper()}{ours[1:]} is {kind} {'from' if kind == 'not distinguishable' else 'than'} {theirs}"
    graded = difference.is_graded and not is_expectation
    gained, lost, unit = ("higher", "lower", "points of the mean score") if graded else ("gained", "lost", "points")
    counted = "" if is_expectation else f" ({difference.n_better} {gained}, {difference.n_worse} {lost})"
    sentence = f"{head}{f' ({cost})' if cost else ''}: {points(difference)} {unit} on {difference.n} test examples"
    brief = f"{head}: {points(difference)} points"
    if kind == "not distinguishable":
        return Verdict(
            kind=kind, sentence=f"{sentence}{counted}; {_needed(difference)}.", brief=f"{brief}{_in_short(difference)}."
        )
    return Verdict(kind=kind, sentence=f"{sentence}{counted}.", brief=f"{brief}.")


def _needed(difference: Difference) -> str:
    if difference.examples_needed is None:
        return "no number of examples tells a difference of 0"
    return f"to tell a difference of this size, about {rounded_up(difference.examples_needed)} would be needed"


def _in_short(difference: Difference) -> str:
    if difference.examples_needed is None:
        return ""
    return f"; about {rounded_up(difference.examples_needed)} test examples (data.test) would tell"
