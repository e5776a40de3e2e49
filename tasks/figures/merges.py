"""Merges that were tried: the score on the validation split against the distance from the base."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from thickets.tasks.figures.theme import (
    DASHES,
    MARKERS,
    PRINT,
    Theme,
    add_legend,
    as_percent,
    label_axes,
    legend_height_in,
    new_figure,
)
from thickets.tasks.results.merging import MergeChoice, MergeTrial
from thickets.tasks.results.text import figure_name

_COLUMNS = 2


def merge_radii(choice: MergeChoice, theme: Theme = PRINT) -> Figure:
    """Plot every merge of a run: a line for each direction, a star for one that a coordinate search has changed.

    The base, from which the distance is measured, is a line across, and the best merge has a ring.
    """
    what = figure_name(is_graded=choice.chosen.accuracy.is_graded)
    lines = by_direction(choice)
    n_entries = len(lines) + 2 + any(trial.is_tuned for trial in choice.trials)
    height_in = 3.4 + legend_height_in(-(-n_entries // _COLUMNS))
    figure, axes = new_figure(theme, f"{what.capitalize()} of merges by their distance from the base", height_in)
    for index, (name, trials) in enumerate(lines.items()):
        axes.plot(
            [trial.radius for trial in trials],
            [trial.accuracy.value for trial in trials],
            linestyle=("-", *DASHES)[index % (1 + len(DASHES))],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4.5,
            color=theme.color(index),
            label=name,
        )
    tuned = [trial for trial in choice.trials if trial.is_tuned]
    for trial in tuned:
        axes.plot(
            trial.radius,
            trial.accuracy.value,
            linestyle="none",
            marker="*",
            markersize=9,
            color=theme.ink,
            label="coefficients searched",
        )
    best = choice.chosen
    axes.plot(
        best.radius,
        best.accuracy.value,
        linestyle="none",
        marker="o",
        markerfacecolor="none",
        markeredgecolor=theme.ink,
        markersize=12,
        label="the best",
    )
    axes.axhline(best.accuracy.value - choice.minus_base.value, color=theme.ink, linewidth=1.1, label="base")
    radii = sorted({trial.radius for trial in choice.trials})
    axes.set_xscale("log")
    axes.set_xlim(radii[0] / 1.2, radii[-1] * 1.2)
    axes.xaxis.set_major_locator(FixedLocator(_apart(radii)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    as_percent(axes, theme)
    label_axes(axes, theme, "radius, in distances of one candidate", f"{what}, validation")
    add_legend(figure, theme, _COLUMNS)
    return figure


def by_direction(choice: MergeChoice) -> dict[str, list[MergeTrial]]:
    """Return the merges of each direction by their radius, without those that a coordinate search has changed."""
    found: dict[str, list[MergeTrial]] = {}
    for trial in sorted(choice.trials, key=lambda trial: trial.radius):
        if not trial.is_tuned:
            name = f"{trial.k} best" if trial.direction == "best" else f"all by {trial.direction.replace('_', '-')}"
            found.setdefault(name, []).append(trial)
    order = [trial.id for trial in choice.trials]
    return dict(sorted(found.items(), key=lambda item: min(order.index(trial.id) for trial in item[1])))


def _apart(radii: list[float]) -> list[float]:
    """Return the radii whose figures do not run into each other on a logarithmic axis, the smallest first."""
    found = radii[:1]
    gap = (radii[-1] / radii[0]) ** 0.09
    for radius in radii[1:]:
        if radius >= gap * found[-1]:
            found.append(radius)
    return found
