"""Curves: accuracy against the number of experts, and solution density against the margin."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thickets.tasks.figures.theme import (
    DASHES,
    MARKERS,
    PRINT,
    Theme,
    add_legend,
    as_percent,
    label_axes,
    legend_height_in,
    literal,
    new_figure,
)
from thickets.tasks.results.evaluation import CurvePoint, Evaluation
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.text import figure_name
from thickets.tasks.results.thicket import SigmaScores


def k_curve(validation: Sequence[CurvePoint], evaluation: Evaluation, theme: Theme = PRINT) -> Figure:
    """Plot the vote's accuracy against K: the validation curve K was chosen on, and the test curve up to the chosen K.

    The base and the controls, which have no K of their own, are lines across.
    """
    controls = evaluation.controls
    what = figure_name(is_graded=evaluation.is_graded or any(point.accuracy.is_graded for point in validation))
    height_in = 3.5 + legend_height_in(4 + len(controls))
    figure, axes = new_figure(theme, f"{what.capitalize()} of the {evaluation.vote} vote against K", height_in)
    _curve(axes, chosen_curve(validation, evaluation), theme.color(0), "o", "vote, validation (chooses K)")
    _curve(axes, evaluation.test_curve, theme.color(1), "s", "vote, test (not used to choose)")
    axes.axhline(evaluation.base.value, color=theme.ink, linewidth=1.1, label="base, test")
    for index, control in enumerate(controls):
        axes.axhline(
            control.accuracy.value,
            color=theme.color(2 + index % (len(theme.series) - 2)),  # the first two are the curves
            linestyle=DASHES[index % len(DASHES)],
            linewidth=1.4,
            label=f"{literal(control.label)}, test",
        )
    axes.axvline(
        evaluation.k, color=theme.muted, linestyle=(0, (2, 2)), linewidth=1, label=f"chosen K = {evaluation.k}"
    )
    _whole_k(axes, evaluation.k, validation)
    as_percent(axes, theme)
    label_axes(axes, theme, "K, number of experts that vote", what)
    add_legend(figure, theme)
    return figure


def k_curve_so_far(
    validation: Sequence[CurvePoint], base: Accuracy, theme: Theme = PRINT, *, figure_name: str = "accuracy"
) -> Figure:
    """Plot the vote's accuracy against K of a run in progress: the validation curve as far as it goes, and the base.

    Args:
        validation: Of one method and vote rule.
        base: On the same questions.
        theme: Where it will be seen.
        figure_name: What the accuracy is called.
    """
    figure, axes = new_figure(theme, f"{figure_name.capitalize()} of the vote so far", 3.5 + legend_height_in(2))
    _curve(axes, validation, theme.color(0), "o", "vote, validation (chooses K)")
    axes.axhline(base.value, color=theme.ink, linewidth=1.1, label="base, validation")
    _whole_k(axes, 1, validation)
    as_percent(axes, theme)
    label_axes(axes, theme, "K, number of experts that vote", figure_name)
    add_legend(figure, theme)
    return figure


def chosen_curve(validation: Sequence[CurvePoint], evaluation: Evaluation) -> list[CurvePoint]:
    """Return the points with the method and vote rule of the evaluation."""
    chosen = evaluation.method, evaluation.rule
    return [point for point in validation if (point.method, point.rule) == chosen]


def density_curve(sigmas: Sequence[SigmaScores], theme: Theme = PRINT) -> Figure:
    """Solution density: the share of each sigma's candidates that beat the base by a margin (Gan & Isola 2026).

    Bands are 95 % Wilson intervals. Sigmas are never pooled.
    """
    columns = 2
    figure, axes = new_figure(theme, "Solution density", 3.5 + legend_height_in(-(-len(sigmas) // columns)))
    for index, row in enumerate(sigmas):
        margins = [point.margin_points for point in row.density]
        color = theme.color(index)
        axes.plot(
            margins,
            [point.share.value for point in row.density],
            linestyle=("-", *DASHES)[index % (1 + len(DASHES))],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            color=color,
            label=f"σ = {row.sigma:g}, {row.n_candidates} candidates",
        )
        _band(axes, margins, [(point.share.low, point.share.high) for point in row.density], color)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    as_percent(axes, theme)
    label_axes(axes, theme, "margin over the base m, points", "candidates at least m above")
    add_legend(figure, theme, columns)
    return figure


def _whole_k(axes: Axes, chosen: int, points: Sequence[CurvePoint]) -> None:
    """Put whole numbers at the axis, also where it has one K alone."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if {chosen, *(point.k for point in points)} == {1}:
        axes.set_xlim(0, 2)


def _curve(axes: Axes, points: Sequence[CurvePoint], color: str, marker: str, label: str) -> None:
    ks = [point.k for point in points]
    values = [point.accuracy.value for point in points]
    axes.plot(ks, values, linestyle="-", marker=marker, markersize=4, color=color, label=label)
    _band(axes, ks, [(point.accuracy.low, point.accuracy.high) for point in points], color)


def _band(axes: Axes, xs: Sequence[int], intervals: Sequence[tuple[float, float]], color: str) -> None:
    axes.fill_between(xs, [low for low, _ in intervals], [high for _, high in intervals], color=color, alpha=0.11, lw=0)
