"""The plot that a problem itself has to offer, beside those that every run has."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure

from thickets.flows.experts import experts_of
from thickets.flows.report.plots import Plot
from thickets.flows.results.summary import RunSummary
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.evaluation.replies import replies_on_test
from thickets.tasks.figures import Theme
from thickets.tasks.problems import Problem
from thickets.tasks.problems.base import HasFigure, Replies


def own_plots(problem: Problem, summary: RunSummary, scores: ScoreQueries) -> list[Plot]:
    """The problem's own plot of what was answered on the test split; nothing where it has none."""
    if not isinstance(problem, HasFigure):
        return []
    replies = replies_on_test(scores, experts_of(summary), summary.evaluation.rule)
    return [
        Plot(
            "predictions",
            "Predictions",
            "Test questions in their order, none of them picked: what is right, and what the base, candidates drawn at "
            "random, the experts and their vote make of it.",
            f"Predictions of the base, the experts and their vote for the first {len(replies)} test questions.",
            partial(_draw, problem, replies),
            is_themed=False,
            is_wide=True,
        )
    ]


def _draw(problem: HasFigure, replies: tuple[Replies, ...], theme: Theme) -> Figure:
    return problem.figure(replies)
