"""Numbers as sentences and tables write them."""

from __future__ import annotations

import math

from thickets.tasks.results.evaluation import Accuracy, Difference


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``45 s``, ``3 min 10 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def percent(value: Accuracy) -> str:
    """``38.3 % [32.5, 44.4]``, or ``33.3 %`` of a chance that is known."""
    if value.low == value.high:
        return f"{100 * value.value:.1f} %"
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def points(difference: Difference) -> str:
    """``+10.5 [+4.7, +16.4]``, in percentage points."""
    return f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def rounded_up(count: int) -> str:
    """A count of which only the size is known: ``3,400`` for 3,391."""
    step = 10 ** max(0, int(math.log10(max(count, 1))) - 1)
    return f"{math.ceil(count / step) * step:,}"
