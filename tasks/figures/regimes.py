"""Solution density and accuracies against the number of parameters, several models on one problem."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from thickets.tasks.figures.theme import (
    MARKERS,
    PRINT,
    TICK_SIZE,
    Theme,
    add_legend,
    as_percent,
    interval_bars,
    label_axes,
    legend_height_in,
    literal,
    new_figure,
)
from thickets.tasks.results.intervals import Accuracy, Share
from thickets.tasks.results.regimes import Regime, Regimes
from thickets.tasks.results.text import figure_name, short_size

_CLOSEST = 0.16  # of the axis: models that are nearer than this stand side by side
_DODGE = 0.035  # of the axis, between the points of one model
_FLOOR_APART = 0.3  # of the axis
_MOST_UPRIGHT, _UPRIGHT_CHARACTERS, _SLANTED_CHARACTERS = 4, 12, 24


def density_by_size(found: Regimes, theme: Theme = PRINT) -> Figure:
    """Plot each model's solution density by sigma; the sigma of a model's best candidate has a ring.

    Bars are 95 % Wilson intervals. Sigmas are never pooled.
    """
    sigmas = sorted({row.sigma for each in found.models for row in each.sigmas})
    figure, axes = new_figure(
        theme,
        f"Candidates {found.margin_points} points above their base, against size",
        _height_in(found) + legend_height_in(-(-(len(sigmas) + 1) // 2)),
    )
    xs, width = places(found)
    entries = {}
    for index, sigma in enumerate(sigmas):
        inside = [place for place, each in enumerate(found.models) if sigma in {row.sigma for row in each.sigmas}]
        entries[f"σ = {sigma:g}"] = _points(
            axes,
            [xs[place] + _aside(index, len(sigmas), width) for place in inside],
            [found.models[place].density(found.margin_points, sigma) for place in inside],
            theme.color(index),
            MARKERS[index % len(MARKERS)],
        )
    ring = axes.scatter(
        [
            x + _aside(sigmas.index(each.best.sigma), len(sigmas), width)
            for x, each in zip(xs, found.models, strict=True)
        ],
        [each.density(found.margin_points).value for each in found.models],
        s=130,
        facecolors="none",
        edgecolors=theme.ink,
        linewidths=1.1,
        clip_on=False,
    )
    _finish(axes, found, xs, width, theme)
    label_axes(axes, theme, _size_label(found), f"solution density at {found.margin_points} points")
    add_legend(figure, theme, 2, {**entries, "σ of the best candidate": ring})
    return figure


def accuracy_by_size(found: Regimes, theme: Theme = PRINT) -> Figure:
    """Plot base, best single expert and vote of each model on the test split, with 95 % Wilson intervals."""
    what = figure_name(is_graded=found.is_graded)
    height_in = _height_in(found) + legend_height_in(1)
    figure, axes = new_figure(theme, f"{what.capitalize()} on the test split, against size", height_in)
    xs, width = places(found)
    rows: list[tuple[str, str, str, list[Accuracy]]] = [
        ("base", theme.ink, "o", [each.base for each in found.models]),
        ("best single expert", theme.color(0), "^", [each.best_single for each in found.models]),
        ("vote", theme.color(1), "s", [each.vote for each in found.models]),
    ]
    entries = {}
    for index, (label, color, marker, scores) in enumerate(rows):
        entries[label] = _points(axes, [x + _aside(index, len(rows), width) for x in xs], scores, color, marker)
    _finish(axes, found, xs, width, theme)
    label_axes(axes, theme, _size_label(found), what)
    add_legend(figure, theme, 3, entries)
    return figure


def places(found: Regimes) -> tuple[list[float], float]:
    """Return where each model stands on a logarithmic axis, and the width of that axis.

    Models of about the same size stand side by side, and the floor at the left, apart from all others.
    """
    logs = [math.log10(each.n_parameters) for each in found.trained]
    width = max(1.0, (max(logs) - min(logs)) * 1.3)
    apart = _CLOSEST * width
    groups: list[list[float]] = []
    for x in sorted(logs):
        if groups and x - groups[-1][-1] < apart:
            groups[-1].append(x)
        else:
            groups.append([x])
    xs = []
    for group in groups:
        middle = sum(group) / len(group)
        xs += [
            middle + (place - (len(group) - 1) / 2) * apart if len(group) > 1 else middle for place in range(len(group))
        ]
    return ([min(xs) - _FLOOR_APART * width] if found.floor else []) + xs, width


def _aside(index: int, n: int, width: float) -> float:
    return (index - (n - 1) / 2) * min(_DODGE, 0.8 * _CLOSEST / n) * width


def _points(
    axes: Axes, xs: Sequence[float], shares: Sequence[Accuracy | Share], color: str, marker: str
) -> ErrorbarContainer:
    return axes.errorbar(
        xs,
        [each.value for each in shares],
        yerr=interval_bars(shares),
        marker=marker,
        markersize=6,
        linestyle="none",
        color=color,
        elinewidth=1.2,
        capsize=2.5,
        clip_on=False,
    )


def _finish(axes: Axes, found: Regimes, xs: Sequence[float], width: float, theme: Theme) -> None:
    """Name the models below the axis, and draw the line between the floor and all others."""
    upright = len(found.models) <= _MOST_UPRIGHT
    axes.set_xticks(
        list(xs),
        [_upright(each) if upright else _slanted(each) for each in found.models],
        fontsize=TICK_SIZE - (1 if upright else 2),
        rotation=0 if upright else 35,
        ha="center" if upright else "right",
        rotation_mode=None if upright else "anchor",
    )
    axes.set_xlim(min(xs) - 0.6 * _CLOSEST * width, max(xs) + 0.6 * _CLOSEST * width)
    axes.set_ylim(bottom=0)
    as_percent(axes, theme)
    if found.floor:
        axes.axvline(xs[0] + _FLOOR_APART * width / 2, color=theme.muted, linestyle=(0, (2, 3)), linewidth=1)


def _height_in(found: Regimes) -> float:
    return 3.7 if len(found.models) <= _MOST_UPRIGHT else 4.4


def _upright(model: Regime) -> str:
    words = model.name.replace("-", "- ").replace("_", "_ ").split(" ")
    lines = textwrap.wrap(" ".join(words), _UPRIGHT_CHARACTERS, break_long_words=True, max_lines=4, placeholder=" …")
    shown = "\n".join(line.replace("- ", "-").replace("_ ", "_") for line in lines)
    return literal(f"{shown}\n{short_size(model.n_parameters)}")


def _slanted(model: Regime) -> str:
    name = model.name
    shown = name if len(name) <= _SLANTED_CHARACTERS else f"{name[: _SLANTED_CHARACTERS - 1]}…"
    return literal(f"{shown}, {short_size(model.n_parameters)}")


def _size_label(found: Regimes) -> str:
    return "model and its parameters" if found.is_one_size else "model and its parameters, logarithmic"
