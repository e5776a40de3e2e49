"""The heat map of candidates by tasks: which candidate is better or worse than the base at what."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from thickets.tasks.figures.theme import (
    LABEL_SIZE,
    PRINT,
    TICK_SIZE,
    Theme,
    add_legend,
    label_axes,
    legend_height_in,
    literal,
    new_figure,
)
from thickets.tasks.results.task_map import MappedCandidate, MappedTask, SigmaMap

# Faint to strong, but never so strong that a number written on it could not be read.
_FAINT, _STRONG = 0.1, 0.55
_STEPS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25)  # four of the last hold everything
_MOST_SHADES = 4
MOST_ROWS = 120
_MOST_WITH_NUMBERS = 48
_ROW_IN, _TALLEST_IN, _HEAD_IN = 0.2, 7.0, 0.9
_HEADING_CHARACTERS = 58  # of all columns together, on one line
_LEGEND_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class Shade:
    """A step of the colour scale.

    Attributes:
        low: Points over the base from which on it is taken, as a share; its size where it is below the base.
        strength: How much of the colour is seen, 0 to 1.
    """

    low: float
    high: float
    strength: float


def shades(maps: Sequence[SigmaMap]) -> tuple[Shade, ...]:
    """Return the steps of one scale for all maps, above and below the base alike, from the faintest."""
    most = max((abs(gap) for each in maps for one in each.candidates for gap in one.over_base), default=0.0)
    step = next(each for each in _STEPS if each * _MOST_SHADES >= most - 1e-9)
    count = min(_MOST_SHADES, max(1, math.ceil(most / step - 1e-9)))
    strengths = [_FAINT + (_STRONG - _FAINT) * place / max(1, count - 1) for place in range(count)]
    ends = [step * place for place in range(count + 1)]
    return tuple(Shade(ends[place], ends[place + 1], strengths[place]) for place in range(count))


def shown_rows(candidates: Sequence[MappedCandidate], most: int = MOST_ROWS) -> list[int]:
    """Choose the rows of a map with too many: every task's experts, and others at even distances, in their order."""
    if len(candidates) <= most:
        return list(range(len(candidates)))
    experts = {place for place, each in enumerate(candidates) if any(each.is_expert)}
    others = [place for place in range(len(candidates)) if place not in experts]
    n_others = max(2, most - len(experts))
    even = {others[round(i * (len(others) - 1) / (n_others - 1))] for i in range(n_others)} if others else set()
    return sorted(experts | even)


def task_map(found: SigmaMap, tasks: Sequence[MappedTask], scale: Sequence[Shade], theme: Theme = PRINT) -> Figure:
    """Draw the candidates of one sigma, the one with the highest mean percentile at the top.

    Args:
        found: At least one candidate.
        tasks: Its columns.
        scale: See `shades`.
        theme: Where it will be seen.
    """
    rows = shown_rows(found.candidates)
    with_numbers = len(rows) <= _MOST_WITH_NUMBERS
    entries = _legend(scale, theme) if theme.has_title else {}
    height = _HEAD_IN + min(_ROW_IN * len(rows), _TALLEST_IN) + legend_height_in(-(-len(entries) // _LEGEND_COLUMNS))
    figure, axes = new_figure(theme, f"Points over the base, sigma {found.sigma:g}", height)
    cells = {
        (row, column): gap
        for row, place in enumerate(rows)
        for column, gap in enumerate(found.candidates[place].over_base)
    }
    for shade in scale:
        for sign, color in ((1, theme.color(0)), (-1, theme.color(1))):
            inside = [cell for cell, gap in cells.items() if _falls_in(sign * gap, shade)]
            _squares(axes, inside, facecolor=color, edgecolor="none", alpha=shade.strength)
    _squares(axes, [cell for cell, gap in cells.items() if gap == 0], facecolor=theme.grid, edgecolor="none", alpha=0.5)
    if with_numbers:
        for (row, column), gap in cells.items():
            mark = "*" if found.candidates[rows[row]].differs[column] else ""
            text = f"{100 * gap:+.0f}{mark}" if gap else "0"
            axes.text(column, row, text, color=theme.ink, ha="center", va="center", fontsize=TICK_SIZE - 2)
    experts = [cell for cell in cells if found.candidates[rows[cell[0]]].is_expert[cell[1]]]
    _squares(axes, experts, facecolor="none", edgecolor=theme.ink, linewidth=1.6)
    _label(axes, rows, tasks, theme)
    if entries:
        add_legend(figure, theme, _LEGEND_COLUMNS, entries)
    return figure


def shade_words(shade: Shade, sign: int) -> str:
    """Return what a shade stands for: ``+5 to +10``."""
    return f"{sign * 100 * shade.low:+.0f} to {sign * 100 * shade.high:+.0f}".replace("+0 ", "0 ").replace("-0 ", "0 ")


def _falls_in(gap: float, shade: Shade) -> bool:
    return shade.low + 1e-9 < gap <= shade.high + 1e-9


def _label(axes: Axes, rows: list[int], tasks: Sequence[MappedTask], theme: Theme) -> None:
    n = len(rows)
    axes.set(xlim=(-0.5, len(tasks) - 0.5), ylim=(n - 0.5, -0.5))
    step = max(1, -(-n // 12))
    axes.set_yticks(range(0, n, step), [str(rows[place] + 1) for place in range(0, n, step)])
    width = max(6, _HEADING_CHARACTERS // len(tasks))
    headings = [f"{_wrapped(task.task, width)}\nbase {100 * task.base:.0f} %" for task in tasks]
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(tasks)), headings, fontsize=TICK_SIZE - 1.5)
    axes.tick_params(axis="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    label_axes(axes, theme, "", "candidate, by mean percentile")
    axes.yaxis.label.set_fontsize(LABEL_SIZE - 0.5)


def _wrapped(name: str, width: int) -> str:
    """Break a name between its words, and within one that is longer than a column."""
    words = name.replace("_", "_ ").replace(":", ": ").split(" ")
    lines = textwrap.wrap(" ".join(words), width, break_long_words=True)
    return literal("\n".join(line.replace("_ ", "_").replace(": ", ":") for line in lines))


def _legend(scale: Sequence[Shade], theme: Theme) -> dict[str, Patch | Line2D]:
    entries: dict[str, Patch | Line2D] = {}
    for sign, color in ((1, theme.color(0)), (-1, theme.color(1))):
        for shade in scale:
            entries[shade_words(shade, sign)] = Patch(facecolor=color, edgecolor="none", alpha=shade.strength)
    entries["expert of the task"] = Patch(facecolor="none", edgecolor=theme.ink, linewidth=1.6)
    return entries


def _squares(axes: Axes, cells: list[tuple[int, int]], **look: object) -> None:
    # One path for all squares of a shade: a file with one shape per cell would be a hundred times as large.
    if cells:
        squares = [
            Path.unit_rectangle().transformed(Affine2D().scale(0.94, 0.88).translate(column - 0.47, row - 0.44))
            for row, column in cells
        ]
        axes.add_patch(PathPatch(Path.make_compound_path(*squares), **look))
