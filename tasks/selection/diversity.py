"""Diverse committees: experts that err on the same questions add little to a vote, so the next one should not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thickets.tasks.types import FULL

# A question that all chosen candidates have wrong counts for 1 + 1 correct answers, one that all have right for 1.
# An error is an answer that is not right, also where it has a part of the score: what two experts share is which
# questions they fail, and the vote has no parts.
# Whole numbers, so that nothing is rounded. Fixed before anything was measured, and not tuned since.
PENALTY, PER = 1, 1


def pool_size(k: int) -> int:
    """Return how many of the best candidates the `k`-th expert is chosen from; lower scores are never chosen."""
    return max(2 * k, k + 10)


def diverse_order(right: NDArray[np.bool_], k: int, points: NDArray[np.int64] | None = None) -> list[int]:
    """Choose greedily: next comes the largest score - PENALTY / PER * mean double fault with those already chosen.

    The double fault of two candidates is the number of questions that both have wrong (Giacinto & Roli 2001). The m-th
    is chosen among the best `pool_size(m)`, so the first ones do not depend on `k`.

    Greedy committee search overfits the selection split: independent replications of the paper (docs/design.md#method)
    found that its gain there does not last. So this method has to win on the validation split to be chosen.

    Args:
        right: Whether each candidate has each question of the selection split right, `[n_pool, n_questions]`, best
            candidates first: the best `pool_size(k)`, or all there are.
        k: Number of candidates to choose.
        points: Sum of each candidate's scores, in thousandths, `[n_pool]`; None: 1000 per right answer.

    Returns:
        Rows of `right` in the order of choice; ties go to the earlier row. Fewer than `k` if there are fewer rows.
    """
    wrong = (~right).astype(np.int64)
    score = FULL * right.sum(axis=1, dtype=np.int64) if points is None else points
    shared = np.zeros(len(right), dtype=np.int64)  # double faults with all chosen so far, summed
    free = np.ones(len(right), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(right)):
        n_pool = pool_size(len(chosen) + 1)
        # Multiplied by PER and by the number of chosen candidates, which is the same for all: no fractions.
        value = PER * max(1, len(chosen)) * score[:n_pool] - PENALTY * FULL * shared[:n_pool]
        value[~free[:n_pool]] = np.iinfo(np.int64).min
        best = int(value.argmax())  # the first of equals
        chosen.append(best)
        free[best] = False
        shared += wrong @ wrong[best]
    return chosen
