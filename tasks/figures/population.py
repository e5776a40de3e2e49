"""The population: every candidate's score, by sigma."""

from __future__ import annotations

from collections import Counter

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thickets.tasks.figures.theme import PRINT, Theme, add_legend, as_percent, label_axes, legend_height_in, new_figure
from thickets.tasks.results.intervals import Accuracy

# Beyond this many a dot is no longer a candidate that one could point at, and a page would carry them all.
_MOST_DOTS = 1500
_HALF_WIDTH = 0.4


def score_by_sigma(
    accuracies: pl.DataFrame, base: Accuracy, theme: Theme = PRINT, *, figure_name: str = "accuracy"
) -> Figure:
    """Every candidate's accuracy, or mean score, on the selection split, grouped by sigma, against the base.

    Equal scores lie side by side, so that a row's width shows how many there are.

    Args:
        accuracies: sigma and accuracy, one row per candidate.
        base: The base on the same split.
        theme: Where it will be seen.
        figure_name: What `accuracy` is called.
    """
    figure, axes = new_figure(theme, f"Selection {figure_name} of every candidate", 3.6 + legend_height_in(2))
    groups = accuracies.sort("sigma", "accuracy").partition_by("sigma", as_dict=True, maintain_order=True)
    scores = {float(key[0]): Counter(group["accuracy"].to_list()) for key, group in groups.items()}
    widest = max(count for counts in scores.values() for count in counts.values())
    step = min(0.075, 2 * _HALF_WIDTH / widest)
    is_large = accuracies.height > _MOST_DOTS
    for place, counts in enumerate(scores.values(), start=1):
        (_bars if is_large else _dots)(axes, place, counts, step, theme)
        median = groups_median(counts)
        axes.hlines(
            median,
            place - _HALF_WIDTH,
            place + _HALF_WIDTH,
            color=theme.ink,
            linewidth=1.6,
            label="median" if place == 1 else "",  # once in the legend
        )
    axes.axhspan(base.low, base.high, color=theme.muted, alpha=0.13, lw=0, label="base, 95 % Wilson interval")
    axes.axhline(base.value, color=theme.muted, linestyle="--", linewidth=1.2, label="base")
    names = [f"{sigma:g}\n{counts.total()} candidates" for sigma, counts in scores.items()]
    axes.set_xticks(range(1, len(scores) + 1), names)
    axes.set_xlim(0.4, len(scores) + 0.6)
    as_percent(axes, theme)
    label_axes(axes, theme, "σ", f"{figure_name} on the selection split")
    add_legend(figure, theme, columns=2)
    return figure


def groups_median(counts: Counter[float]) -> float:
    """The lower median: a score that occurs, as in every other figure of a run."""
    ordered = sorted(counts.elements())
    return ordered[(len(ordered) - 1) // 2]


def _dots(axes: Axes, place: int, counts: Counter[float], step: float, theme: Theme) -> None:
    points = [
        (place + (index - (count - 1) / 2) * step, score) for score, count in counts.items() for index in range(count)
    ]
    axes.plot(*zip(*points, strict=True), "o", color=theme.color(0), alpha=0.55, markersize=4.5, markeredgewidth=0)


def _bars(axes: Axes, place: int, counts: Counter[float], step: float, theme: Theme) -> None:
    scores = sorted(counts)
    halves = [counts[score] * step / 2 for score in scores]
    axes.hlines(
        scores,
        [place - half for half in halves],
        [place + half for half in halves],
        color=theme.color(0),
        alpha=0.6,
        linewidth=3,
    )
