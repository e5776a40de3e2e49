"""How much the experts differ: the map of their agreement."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2D

from thickets.tasks.figures.theme import (
    LABEL_SIZE,
    PRINT,
    TICK_SIZE,
    WIDTH_IN,
    Theme,
    add_legend,
    label_axes,
    legend_height_in,
    new_figure,
)
from thickets.tasks.results.thicket import Agreement

# Faint to strong, but never so strong that the number written on it could not be read.
_FAINT, _STRONG = 0.1, 0.5
_MOST_SHADES = 6
_MOST_WITH_NUMBERS = 12
_COLUMNS = 3


def agreement_map(found: Agreement, theme: Theme = PRINT) -> Figure:
    """On which share of the questions each pair of experts gives the same answer, or how similar they are, by rank.

    Args:
        found: At least two experts.
        theme: Where it will be seen.
    """
    k = len(found.n_same)
    pairs = {(i, j): 100 * found.n_same[i][j] / found.n for i in range(1, k) for j in range(i)}
    shades = _shades(min(pairs.values()), max(pairs.values()))
    figure, axes = new_figure(
        theme, "Agreement of the experts", WIDTH_IN * 0.8 + legend_height_in(-(-len(shades) // _COLUMNS))
    )
    entries = {}
    for place, (low, high) in enumerate(shades):
        strength = _FAINT + (_STRONG - _FAINT) * place / max(1, len(shades) - 1)
        is_last = place == len(shades) - 1
        inside = [pair for pair, value in pairs.items() if low <= value < high or (is_last and value == high)]
        _squares(axes, inside, theme.color(0), strength)
        entries[f"{low} to {high} %"] = Patch(facecolor=theme.color(0), edgecolor="none", alpha=strength)
    if k <= _MOST_WITH_NUMBERS:
        size = LABEL_SIZE if k <= 9 else TICK_SIZE - 1
        for (i, j), value in pairs.items():
            axes.text(j + 1, i + 1, f"{value:.0f}", color=theme.ink, ha="center", va="center", fontsize=size)
    axes.set(xlim=(0.5, k - 0.5), ylim=(k + 0.5, 1.5), aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    label_axes(axes, theme, "expert, by rank", "expert, by rank")
    add_legend(figure, theme, _COLUMNS, entries)
    return figure


def _shades(least: float, most: float) -> list[tuple[int, int]]:
    """Equal steps of whole percentages that hold all values, as few as tell them apart."""
    for step in (1, 2, 5, 10, 20):
        low, high = math.floor(least / step) * step, math.ceil(most / step) * step
        n_steps = max(1, (high - low) // step)
        if n_steps <= _MOST_SHADES:
            break
    return [(low + step * index, low + step * (index + 1)) for index in range(n_steps)]


def _squares(axes: Axes, pairs: list[tuple[int, int]], color: str, alpha: float) -> None:
    # One path for all squares of a shade: a file with one shape per pair would be a hundred times as large.
    if pairs:
        squares = [
            Path.unit_rectangle().transformed(_place(i, j))  # the gap between squares is the background
            for i, j in pairs
        ]
        axes.add_patch(PathPatch(Path.make_compound_path(*squares), facecolor=color, edgecolor="none", alpha=alpha))


def _place(i: int, j: int) -> Affine2D:
    return Affine2D().scale(0.94).translate(j + 0.53, i + 0.53)
