"""Rivals of a run: evolution strategies within a budget, on the run's questions, compared on its test split."""

from __future__ import annotations

from collections.abc import Callable

from thickets.flows.config.run import RunConfig
from thickets.flows.results.summary import RunSummary
from thickets.flows.rivals.flow import rival

ES = {"population": 4, "rounds": 3, "sigma": 0.05, "learning_rate": 0.02, "evaluate_every": 2, "questions": 6}


def test_evolution(finished: RunSummary, config: Callable[..., RunConfig]) -> None:
    asked = config(rivals={"budget": {"tokens": 10**9}, "es": ES})
    found = rival(asked, "es")
    assert [point.step for point in found.rival.points] == [0, 2, 3]
    print(found.rival)
