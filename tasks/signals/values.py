"""Writes a signal's values as one of a few levels, which are a signals network's tokens, and reads them."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

# A multiple of 16, so that every network of a stack starts at the same alignment; see tasks/engines/signals.py.
N_LEVELS: Final = 80
STEP = 0.05
_LOWEST = -N_LEVELS // 2
# One step short of a tenth is rounded down to it, so that an answer is one of 40.
_PER_TENTH = 2
_VALUE = re.compile(r"(?<![\w.])-?[0-9]\.[0-9]{2}(?![\w.]?[0-9])")


def to_levels(values: ArrayLike) -> NDArray[np.int64]:
    """Return the nearest level of each value: 0 for -2.00, 79 for 1.95; beyond these, the last level on that side."""
    # The 9 digits take off what sine and tanh differ by between machines.
    nearest = np.round(np.round(np.asarray(values, dtype=np.float64), 9) / STEP).astype(np.int64)
    return np.clip(nearest - _LOWEST, 0, N_LEVELS - 1)


def to_values(levels: ArrayLike) -> NDArray[np.float64]:
    """Return the values of levels, in units of the signal."""
    return (np.asarray(levels) + _LOWEST) * STEP


def write(levels: ArrayLike) -> str:
    """Write levels as text: ``"0.35 0.40 -1.10"``."""
    # A sum with 0.0 makes 0.0 of -0.0.
    return " ".join(f"{value:.2f}" for value in np.round(to_values(levels), 2) + 0.0)


def read(text: str) -> NDArray[np.int64] | None:
    """Read the levels that a text consists of, or None if it holds anything else."""
    words = text.split()
    if not words or not all(_VALUE.fullmatch(word) for word in words):
        return None
    return to_levels([float(word) for word in words])


def find(text: str) -> NDArray[np.int64]:
    """Find the levels of all values in a text, and skip everything else."""
    return to_levels([float(value) for value in _VALUE.findall(text)])


def tenth(level: int) -> int:
    """Return the tenth that a level lies in, rounded down: 3 for 0.30 and 0.35, -1 for -0.10 and -0.05."""
    return (int(level) + _LOWEST) // _PER_TENTH
