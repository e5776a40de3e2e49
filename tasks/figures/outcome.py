"""The outcome on the test split: tokens and accuracy of each respondent, and the fate of each question."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator

from thickets.tasks.figures.theme import (
    LABEL_SIZE,
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
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.text import figure_name
from thickets.tasks.results.thicket import GainSplit

# Label, series (None: grey) and hatching of each share, from what stayed right to what stayed wrong.
_FATES = {
    "retained": ("right before and after", 0, None),
    "reasoning_fixed": ("fixed in reasoning", 2, None),
    "format_fixed": ("fixed in format", 2, "///"),
    "unclear_fixed": ("fixed, unclear in which", 2, "..."),
    "regressed": ("regressed", 1, "xxx"),
    "still_wrong": ("still wrong", None, None),
}


def cost_accuracy(
    rows: Sequence[tuple[str, int, Accuracy]], theme: Theme = PRINT, tokens: str = "tokens on the test split"
) -> Figure:
    """Plot tokens against the accuracy they bought.

    Args:
        rows: Label, tokens and accuracy of each row of the result.
        theme: Where it will be seen.
        tokens: Which tokens these are.
    """
    what = figure_name(is_graded=any(score.is_graded for _, _, score in rows))
    figure, axes = new_figure(theme, f"Cost and {what} on the test split", 3.4 + legend_height_in(len(rows)))
    paid = [n_tokens for _, n_tokens, _ in rows if n_tokens > 0]
    least, most = min(paid, default=1), max(paid, default=1)
    for index, (label, n_tokens, score) in enumerate(rows):
        color = theme.color(index)
        axes.errorbar(
            [n_tokens],
            [score.value],
            yerr=interval_bars([score]),
            marker=MARKERS[index % len(MARKERS)],
            markersize=6,
            linestyle="none",
            color=color,
            elinewidth=1.2,
            capsize=2.5,
            label=f"{index + 1}  {literal(label)}",
        )
        axes.annotate(
            str(index + 1),
            (n_tokens, score.value),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=theme.ink,
            fontsize=LABEL_SIZE,
        )
    # Guessing costs nothing, which has no place on a logarithmic axis.
    axes.set_xscale("symlog", linthresh=least, linscale=0.35)
    axes.set_xlim(-0.25 * least if len(paid) < len(rows) else 0.6 * least, 2 * most)
    ticks = [0, *_round_counts(least, most)] if len(paid) < len(rows) else _round_counts(least, most)
    axes.set_xticks(ticks, [short_count(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    as_percent(axes, theme)
    label_axes(axes, theme, f"{tokens}, logarithmic beyond the cheapest", what)
    add_legend(figure, theme)
    return figure


def gains_bar(gains: GainSplit, theme: Theme = PRINT) -> Figure:
    """Plot the counts of fates of the test questions, from the base to the ensemble, as one bar."""
    counts = {name: count for name, count in gains.model_dump().items() if count}
    total = sum(counts.values())
    figure, axes = new_figure(theme, "Test questions, base to ensemble", 1.25 + legend_height_in(-(-len(counts) // 2)))
    start, entries = 0, {}
    for name, (label, series, hatch) in _FATES.items():
        if not (count := counts.get(name)):
            continue
        color = theme.muted if series is None else theme.color(series)
        # Two on top of each other: the fill is pale, so that the number on it can be read, and hatching must not be.
        fill = axes.add_patch(Rectangle((start, -0.35), count, 0.7, facecolor=color, alpha=0.2, linewidth=0))
        edge = axes.add_patch(Rectangle((start, -0.35), count, 0.7, fill=False, edgecolor=color, hatch=hatch))
        entries[f"{label}: {count}"] = (fill, edge)
        if count >= 0.06 * total:
            text = axes.text(start + count / 2, 0, str(count), ha="center", va="center", color=theme.ink)
            text.set_fontsize(LABEL_SIZE)
            text.set_bbox({"facecolor": theme.paper, "edgecolor": "none", "pad": 1.5, "alpha": 0.8})
        start += count
    axes.set(xlim=(0, total), ylim=(-0.45, 0.45), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.tick_params(labelsize=TICK_SIZE)
    label_axes(axes, theme, f"{total} test questions")
    add_legend(figure, theme, 2, entries)
    return figure


def _round_counts(least: int, most: int) -> list[int]:
    """1, 2 or 5 times a power of ten, from about `least` to about `most`; the powers alone where that is enough."""
    powers = [10**exponent for exponent in range(13)]
    for steps in ((1,), (1, 3), (1, 2, 5)):
        found = [step * power for power in powers for step in steps if 0.7 * least <= step * power <= 1.5 * most]
        if len(found) >= 3:
            break
    return found


def short_count(value: float) -> str:
    """``0``, ``850``, ``12k``, ``1.5M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
