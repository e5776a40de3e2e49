"""Draws continuations of a few signals: context, truth, base, random candidates, experts and their vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from thickets.tasks.problems.base import Replies
from thickets.tasks.signals.values import find, to_values

# Okabe-Ito colours: told apart by readers with any colour vision.
_TRUTH, _EXPERT, _VOTE, _BASE, _OTHER = "#0072B2", "#E69F00", "#D55E00", "#222222", "#999999"
_MOST_DRAWN = 25
_TENTH = 0.1


def signal_predictions(replies: Sequence[Replies]) -> Figure:
    """Draw one panel per signal.

    Experts vote on the last value alone; the line through the values before it is their median, for the eye.

    Args:
        replies: Questions and golden answers as `problems.signals` writes them; completions that hold fewer
            values than the gold answer are drawn as far as they go.
    """
    n_columns = min(2, len(replies))
    n_rows = -(-len(replies) // n_columns)
    figure = Figure(figsize=(5.6 * n_columns, 3.1 * n_rows + 0.7), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place, (axes, reply) in enumerate(zip(panels, replies, strict=False)):
        _panel(axes, reply)
        if place % n_columns == 0:
            axes.set_ylabel("value")
        if place >= len(replies) - n_columns:
            axes.set_xlabel("sample")
    for axes in panels[len(replies) :]:
        axes.set_axis_off()
    figure.suptitle("How the first test signals are continued", fontsize=12)
    figure.legend(handles=_legend(replies), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _panel(axes: Axes, reply: Replies) -> None:
    context, truth = (to_values(find(text)) for text in (reply.question, reply.gold))
    # Every continuation starts from the last value that was given.
    start, last = len(context) - 1, context[-1:]

    def draw(values: NDArray[np.float64], **style: object) -> None:
        path = np.concatenate([last, values[: len(truth)]])
        axes.plot(range(start, start + len(path)), path, **style)  # type: ignore[arg-type]

    axes.axvspan(-0.5, start, color="#000000", alpha=0.035, lw=0)
    for text in reply.others[:_MOST_DRAWN]:
        draw(to_values(find(text)), color=_OTHER, lw=0.7, alpha=0.45, zorder=1)
    for text in reversed(reply.experts[:_MOST_DRAWN]):  # the best on top
        draw(to_values(find(text)), color=_EXPERT, lw=0.9, alpha=0.5, zorder=2)
    draw(to_values(find(reply.base)), color=_BASE, lw=1.6, ls=(0, (4, 2)), zorder=3)
    draw(truth, color=_TRUTH, lw=2.4, zorder=4)
    axes.plot(range(len(context)), context, color=_TRUTH, lw=2.4, marker="o", ms=3.2, zorder=4)
    draw(_median([to_values(find(text)) for text in reply.experts], len(truth)), color=_VOTE, lw=1.8, zorder=5)
    end = start + len(truth)
    # Right is what lies within a tenth of the gold answer's tenth; see tasks/problems/signals.py.
    low = np.floor(round(truth[-1] / _TENTH, 6)) * _TENTH - _TENTH
    axes.plot([end + 0.8] * 2, [low, low + 3 * _TENTH], color=_TRUTH, lw=5, alpha=0.35, solid_capstyle="butt")
    verdict = "abstains"
    if reply.answer is not None:
        verdict = f"votes {reply.answer}, {'right' if reply.correct else 'wrong'}"
        middle = float(reply.answer) + _TENTH / 2
        axes.plot(end + 0.8, middle, marker="*", color=_VOTE, ms=12, mec="white", mew=0.8, zorder=6)
    axes.set_title(f"ensemble {verdict}", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.set_xlim(-0.5, end + 1.6)


def _median(paths: Sequence[NDArray[np.float64]], length: int) -> NDArray[np.float64]:
    """Return the median of whole continuations at every step; an empty array if no expert has one."""
    whole = [path[:length] for path in paths if len(path) >= length]
    return np.median(whole, axis=0) if whole else np.empty(0)


def _legend(replies: Sequence[Replies]) -> list[Line2D]:
    n_others = min(len(replies[0].others), _MOST_DRAWN)
    n_experts = len(replies[0].experts)
    shown = f"{n_experts} experts" if n_experts <= _MOST_DRAWN else f"{_MOST_DRAWN} of {n_experts} experts"
    return [
        Line2D([], [], color=_TRUTH, lw=2.4, marker="o", ms=3.2, label="signal: context, then truth"),
        Line2D([], [], color=_BASE, lw=1.6, ls=(0, (4, 2)), label="base"),
        *([Line2D([], [], color=_OTHER, lw=1, label=f"{n_others} random candidates")] if n_others else []),
        Line2D([], [], color=_EXPERT, lw=1.2, label=shown),
        Line2D([], [], color=_VOTE, lw=1.8, label="experts' median"),
        Line2D([], [], color=_VOTE, lw=0, marker="*", ms=12, mec="white", label="experts' vote on the last value"),
        Line2D([], [], color=_TRUTH, lw=5, alpha=0.35, label="what counts as right"),
    ]
