"""Formats for numbers, column headings and Markdown tables, shared by all reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from thickets.tasks.results.intervals import Accuracy, Difference

_INTERVAL = "[95 % Wilson]"
_PREFIXES = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
OVER_BASE_HEADING = "points over base [95 % paired bootstrap]"


def figure_name(*, is_graded: bool) -> str:
    """Return the name of the headline figure, which is no share of answers if scores lie between wrong and right."""
    return "mean score" if is_graded else "accuracy"


def accuracy_heading(found: Iterable[Accuracy], split: str = "") -> str:
    """Return the heading of a column of accuracies: ``test accuracy [95 % Wilson]``.

    Args:
        found: The accuracies in the column.
        split: Name of their split; empty: left out.
    """
    name = figure_name(is_graded=any(each.is_graded for each in found))
    return " ".join(filter(None, (split, name, _INTERVAL)))


def scored(value: Accuracy) -> str:
    """Write an accuracy as `percent`, and a mean score with the share right: ``61.0 % [55.1, 66.6], 40.0 % right``."""
    return f"{percent(value)}, {percent(value.share_right)} right" if value.is_graded else percent(value)


def score_metrics(prefix: str, found: Accuracy, *, is_graded: bool) -> dict[str, float]:
    """Return the metrics of an accuracy: ``test.base.accuracy``, and its interval.

    ``accuracy`` is always the share that is right. Where scores lie between, the interval is that of ``mean_score``.

    Args:
        prefix: Of every metric, with the dot: ``test.base.``.
        found: The accuracy.
        is_graded: Whether scores of the run lie between wrong and right, be it not these.
    """
    main = "mean_score" if is_graded else "accuracy"
    return {
        f"{prefix}accuracy": found.share_right,
        f"{prefix}{main}": found.value,
        f"{prefix}{main}_low": found.low,
        f"{prefix}{main}_high": found.high,
    }


def percent(value: Accuracy | float, decimals: int = 1) -> str:
    """Write a share as ``38.3 %``, and an accuracy that is not exact as ``38.3 % [32.5, 44.4]``."""
    if not isinstance(value, Accuracy):
        return f"{100 * value:.{decimals}f} %"
    share = percent(value.value, decimals)
    if value.is_exact:
        return share
    return f"{share} [{100 * value.low:.{decimals}f}, {100 * value.high:.{decimals}f}]"


def points(difference: Difference) -> str:
    """Write a difference in percentage points: ``+10.5 [+4.7, +16.4]``."""
    return f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def rounded_up(count: int) -> str:
    """Round a count up to two significant digits: ``3,400`` for 3,391."""
    step = 10 ** max(0, int(math.log10(max(count, 1))) - 1)
    return f"{math.ceil(count / step) * step:,}"


def amount(count: float) -> str:
    """Write a large count with three significant digits: ``950``, ``12.3 k``, ``1.20 M``, ``540 T``."""
    for prefix, size in _PREFIXES:
        # What rounds to a thousand of a unit is one of the next.
        if count >= 0.9995 * size:
            value = count / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {prefix}"
    return f"{count:.0f}"


def short_size(n_parameters: int) -> str:
    """Write a model's number of parameters: ``14.6K``, ``135M``, ``7.62B``."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if n_parameters >= size:
            return f"{n_parameters / size:.3g}{unit}"
    return str(n_parameters)


def duration(seconds: float) -> str:
    """Write seconds in hours, minutes and seconds: ``45 s``, ``3 min 10 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table; a pipe or a line break in a cell does not end it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )
