"""Accuracy after each round: the model that it made, and the vote of its experts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thickets.tasks.figures.outcome import short_count
from thickets.tasks.figures.theme import (
    PRINT,
    Theme,
    add_legend,
    as_percent,
    interval_bars,
    label_axes,
    legend_height_in,
    new_figure,
)
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.text import figure_name

# More labels below the axis would touch each other.
_MOST_LABELS = 6


@dataclass(frozen=True, slots=True)
class RoundPoint:
    """One round on the curve.

    Attributes:
        tokens_so_far: Tokens generated up to its end, all rounds before it included.
        vote: The vote of its experts, on the test split.
        single: The model that it made, on the test split; None where none stood.
    """

    tokens_so_far: int
    vote: Accuracy
    single: Accuracy | None


def rounds_curve(base: Accuracy, rounds: Sequence[RoundPoint], theme: Theme = PRINT) -> Figure:
    """Plot accuracy by round, with the tokens so far below each; bars are 95 % Wilson intervals.

    Args:
        base: The model before any round, on the test split.
        rounds: In their order.
        theme: Where it will be seen.
    """
    what = figure_name(is_graded=base.is_graded or any(each.vote.is_graded for each in rounds))
    figure, axes = new_figure(theme, f"{what.capitalize()} on the test split by round", 3.6 + legend_height_in(3))
    single = [(0, base), *((place, each.single) for place, each in enumerate(rounds, 1) if each.single is not None)]
    _curve(axes, single, theme.color(0), "o", "-", 0.0, "one model, one answer (round 0: the base)")
    votes = [(place, each.vote) for place, each in enumerate(rounds, 1)]
    _curve(axes, votes, theme.color(1), "s", "--", 0.08, "vote of the round’s experts")
    axes.axhline(base.value, color=theme.ink, linewidth=1.1, linestyle=(0, (1, 3)), label="base, before any round")
    step = -(-(len(rounds) + 1) // _MOST_LABELS)
    ticks = range(0, len(rounds) + 1, step)
    axes.set_xticks(ticks, [f"{place}\n{short_count(_tokens(rounds, place))}" for place in ticks])
    axes.set_xlim(-0.35, len(rounds) + 0.35)
    as_percent(axes, theme)
    label_axes(axes, theme, "round, and tokens generated so far", what)
    add_legend(figure, theme)
    return figure


def _tokens(rounds: Sequence[RoundPoint], place: int) -> int:
    return rounds[place - 1].tokens_so_far if place else 0


def _curve(
    axes: Axes,
    found: Sequence[tuple[int, Accuracy]],
    color: str,
    marker: str,
    linestyle: str,
    shift: float,
    label: str,
) -> None:
    axes.errorbar(
        [place + shift for place, _ in found],  # aside, or one interval would hide the other
        [each.value for _, each in found],
        yerr=interval_bars([each for _, each in found]),
        color=color,
        marker=marker,
        markersize=5.5,
        linestyle=linestyle,
        elinewidth=1.0,
        capsize=2.5,
        label=label,
    )
