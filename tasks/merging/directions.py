"""Where from the base a merge lies: coefficients of candidates, made of their scores alone.

A direction is a coefficient per candidate, scaled so that the sum of their squares is 1. Noise of many dimensions is
nearly orthogonal, so a merge by it is as far from the base as one candidate is; times a *radius* r it is r times as
far. The plain average of K candidates has radius 1 / sqrt(K).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from thickets.storage.errors import InputError
from thickets.tasks.types import Candidate, Merge

Shaping: TypeAlias = Literal["z_score", "rank", "best_quarter"]


def best(scores: Sequence[float], k: int) -> NDArray[np.float64]:
    """Return the direction of the `k` best, all alike; of equal scores the earlier one is better.

    Args:
        scores: ``[n]``, one per candidate.
        k: From 1 to n.

    Raises:
        InputError: There are fewer candidates.
    """
    if not 1 <= k <= len(scores):
        raise InputError(f"merge.k is {k}; there are {len(scores)} candidates")
    direction = np.zeros(len(scores))
    direction[np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")[:k]] = 1.0
    return direction / math.sqrt(k)


def shaped(scores: Sequence[float], shaping: Shaping) -> NDArray[np.float64]:
    """Return every candidate's worth: what a step of evolution strategies multiplies its noise by.

    Args:
        scores: ``[n]``.
        shaping: ``z_score``: distance from the mean in standard deviations (of the population, not of a sample);
            ``rank``: place among all, from -0.5 to 0.5, equal scores alike, so that an outlier counts for no more
            than the next one (Salimans et al. 2017, arXiv 1703.03864, section 2.1); ``best_quarter``: the best quarter
            alike and the others not at all, as in evolution strategies with truncation (Hansen 2016, arXiv 1604.00772,
            section 3.1); who ties for its last places shares them.

    Returns:
        ``[n]``, of mean 0, or for ``best_quarter`` of mean square 1; all 0 where all scores are equal.

    Raises:
        InputError: A score is not finite, or there is none.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"scores: found {list(scores)[:5]}; every candidate needs a finite one")
    if shaping not in get_args(Shaping):
        raise InputError(f"shaping is {shaping!r}; allowed are {', '.join(get_args(Shaping))}")
    if (values == values[0]).all():
        return np.zeros(values.size)
    if shaping == "z_score":
        return (values - values.mean()) / values.std()
    if shaping == "best_quarter":
        return _best_quarter(values)
    below = (values[:, None] > values[None, :]).sum(axis=1)
    equal = (values[:, None] == values[None, :]).sum(axis=1)
    place = below + (equal - 1) / 2
    return place / (values.size - 1) - 0.5


def _best_quarter(values: NDArray[np.float64]) -> NDArray[np.float64]:
    n_best = max(1, round(values.size / 4))
    last = np.sort(values)[-n_best]
    above, ties = values > last, values == last
    worths = above + ties * (n_best - above.sum()) / ties.sum()
    return worths * math.sqrt(values.size / float(worths @ worths))


def by_score(scores: Sequence[float], shaping: Shaping = "z_score") -> NDArray[np.float64]:
    """Return the direction in which all candidates count by their worth, the bad ones backwards.

    Raises:
        InputError: As for `shaped`, or all scores are equal: there is no better side.
    """
    worth = shaped(scores, shaping)
    length = float(np.linalg.norm(worth))
    if length == 0:
        raise InputError(f"scores: all {len(scores)} candidates have the same; there is no direction in them")
    return worth / length


def merge(candidates: Sequence[Candidate], direction: NDArray[np.float64], radius: float = 1.0) -> Merge:
    """Return the model that lies in a direction, `radius` times as far from the base as a candidate.

    Args:
        candidates: ``[n]``, in the order of the direction.
        direction: ``[n]``; candidates with 0 are left out.
        radius: > 0.

    Raises:
        InputError: Nobody is left.
    """
    pairs = [
        (candidate, float(radius * coefficient))
        for candidate, coefficient in zip(candidates, direction, strict=True)
        if coefficient != 0
    ]
    return Merge(tuple(candidate for candidate, _ in pairs), tuple(coefficient for _, coefficient in pairs))
