"""What rivals and distillations have in common: they make a model from a finished run, to be judged beside its rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from thickets.flows.results.summary import TrackingLinks
from thickets.tasks.results.evaluation import Evaluation
from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.verdicts import verdict


class MadeSummary(BaseModel):
    """The result of what was made from a finished run.

    Attributes:
        run_id: The run.
        folder: Where the result is kept.
        model: The run's base.
        problem: The run's problem.
        evaluation: The run's result: base, controls, best single expert and ensemble.
        wall_s: Seconds of this session.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    run_id: str
    folder: Path
    model: str
    problem: str
    evaluation: Evaluation
    wall_s: float
    tracking: TrackingLinks


def verdict_sentences(
    ours: str, minus: Mapping[str, Difference | None], cost: Mapping[str, str] | None = None
) -> list[str]:
    """Return a sentence for each comparison of a model that was made.

    Args:
        ours: The model's name with its article.
        minus: The model minus others, by their names with articles; None where there is no such other.
        cost: What some of the comparisons cost; see `verdict`.
    """
    costs = cost or {}
    return [
        verdict(difference, ours, theirs, cost=costs.get(theirs, "")).sentence
        for theirs, difference in minus.items()
        if difference is not None
    ]
