"""Draws one-dimensional signals from families of waves; a signal depends on families, seed and number alone.

Source: the families follow the signal experiment of Gan & Isola 2026 (six in the mix, waves sampled every 0.4 radians).
The ranges are ours; values stay between -2 and 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from thickets.tasks.noise.reference import philox4x32
from thickets.tasks.noise.spec import seed_key

_RADIANS = 0.4  # between two samples: a period has 15.7

Floats = NDArray[np.float64]
# The shape of a family: time in samples [n], and three numbers [n, 1] between 0 and 1, to values [n, n_samples].
Shape = Callable[[Floats, Floats, Floats, Floats], Floats]


def _between(share: Floats, low: float, high: float) -> Floats:
    return low + (high - low) * share


def _line(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    return _between(a, -0.05, 0.05) * (time - 16) + _between(b, -1.0, 1.0)


def _sigmoid(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    return _between(a, 0.5, 1.5) * np.tanh(0.1 * (time - _between(b, 0, 32))) + _between(c, -0.5, 0.5)


def _sinusoid(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    return _between(a, 0.8, 1.2) * np.sin(_RADIANS * time + 2 * np.pi * b) + _between(c, -0.5, 0.5)


def _harmonic(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    angle = _RADIANS * time + 2 * np.pi * b
    return _between(a, 0.8, 1.2) * (0.5 * np.sin(angle) + 0.3 * np.sin(2 * angle)) + _between(c, -0.5, 0.5)


def _square(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    wave = np.tanh(5 * np.sin(_RADIANS * time + 2 * np.pi * b))
    return _between(a, 0.2, 0.8) * wave + _between(c, -0.5, 0.5)


def _sawtooth(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    angle = _RADIANS * time + 2 * np.pi * b
    wave = sum((-1) ** (n + 1) / n * np.sin(n * angle) for n in range(1, 5))
    return _between(a, 0.4, 0.6) * wave + _between(c, -0.5, 0.5)


def _small_sinusoid(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    return _between(a, 0.4, 0.6) * np.sin(_RADIANS * time + 2 * np.pi * b) + _between(c, -0.3, 0.3)


def _tall_square(time: Floats, a: Floats, b: Floats, c: Floats) -> Floats:
    wave = np.tanh(5 * np.sin(_RADIANS * time + 2 * np.pi * b))
    return _between(a, 0.9, 1.3) * wave + _between(c, -0.3, 0.3)


FAMILIES: dict[str, Shape] = {
    "line": _line,
    "sigmoid": _sigmoid,
    "sinusoid": _sinusoid,
    "harmonic": _harmonic,
    "square": _square,
    "sawtooth": _sawtooth,
    "small_sinusoid": _small_sinusoid,
    "tall_square": _tall_square,
}
# The families of pretraining: neither the small sinusoids nor the tall squares, whose amplitudes it then never saw.
MIX = ("line", "sigmoid", "sinusoid", "harmonic", "square", "sawtooth")
TARGET = "small_sinusoid"


def draw(families: Sequence[str], seed: int, start: int, count: int, n_samples: int) -> Floats:
    """Draw signals number `start` to `start + count` of an endless row; each depends on families, seed and number.

    Args:
        families: Names of `FAMILIES`, each equally likely.
        seed: Unsigned 64 bits.
        start: Number of the first.
        count: How many.
        n_samples: Length of a signal.

    Returns:
        ``[count, n_samples]``.
    """
    numbers = uniforms(seed, start, count)
    time = np.arange(n_samples, dtype=np.float64)
    chosen = (numbers[:, 0] * len(families)).astype(np.int64)
    signals = np.empty((count, n_samples))
    for place, name in enumerate(families):
        rows = chosen == place
        a, b, c = (numbers[rows, column, None] for column in (1, 2, 3))
        signals[rows] = FAMILIES[name](time, a, b, c)
    return signals


def uniforms(seed: int, start: int, count: int) -> Floats:
    """Draw ``[count, 4]`` numbers from 0 to 1, 1 excluded: words of philox4x32-10 (docs/design.md#noise) by row."""
    counters = np.zeros((count, 4), dtype=np.uint32)
    counters[:, 0] = np.arange(start, start + count, dtype=np.uint32)
    return philox4x32(counters, seed_key(seed)).astype(np.float64) / 2.0**32
