"""Intervals for what a run reports: Wilson for an accuracy, paired bootstrap for a difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from tasks.results import Accuracy, Difference

CONFIDENCE = 0.95
_RESAMPLES = 10_000


def accuracy(n_correct: int, n: int) -> Accuracy:
    """Accuracy with its Wilson interval (Wilson 1927, by SciPy).

    Raises:
        ValueError: If `n` is 0 or `n_correct` is not in 0..n.
    """
    interval = stats.binomtest(n_correct, n).proportion_ci(CONFIDENCE, method="wilson")
    return Accuracy(n_correct=n_correct, n=n, value=n_correct / n, low=float(interval.low), high=float(interval.high))


def paired_difference(ours: Sequence[bool], theirs: Sequence[bool], seed: int = 0) -> Difference:
    """How much more accurate `ours` is than `theirs`, both on the same examples in the same order.

    Args:
        ours: Whether each answer is correct, `[n_examples]`.
        theirs: The same for the one compared with, `[n_examples]`.
        seed: Of the bootstrap's resampling; the same figures come out every time.
    """
    gains = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    value = float(gains.mean())
    if np.all(gains == gains[0]):
        return Difference(value=value, low=value, high=value)  # nothing to resample
    interval = stats.bootstrap(
        (gains,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=1000,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Difference(value=value, low=float(interval.low), high=float(interval.high))
