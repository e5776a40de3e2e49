"""Diverse committees: experts that err on the same questions add little to a vote, so the next one should not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A question that all chosen candidates have wrong counts for 1 + 1 correct answers, one that all have right for 1.
# Whole numbers, so that nothing is rounded. Fixed before anything was measured, and not tuned since.
PENALTY, PER = 1, 1


def pool_size(k: int) -> int:
    """Return how many of the best candidates the `k`-th expert is chosen from; lower scores are never chosen."""
    return max(2 * k, k + 10)


def diverse_order(right: NDArray[np.bool_], k: int) -> list[int]:
    """Choose greedily: next comes the largest n_correct - PENALTY / PER * mean double fault with those already chosen.

    The double fault of two candidates is the number of questions that both have wrong (Giacinto & Roli 2001). The m-th
    is chosen among the best `pool_size(m)`, so the first ones do not depend on `k`.

    Greedy committee search overfits the selection split: independent replications of the paper (DESIGN.md section 1)
    found that its gain there does not last. So this method has to win on the validation split to be chosen.

    Args:
        right: Whether each candidate has each question of the selection split right, `[n_pool, n_questions]`, best
            candidates first: the best `pool_size(k)`, or all there are.
        k: Number of candidates to choose.

    Returns:
        Rows of `right` in the order of choice; ties go to the earlier row. Fewer than `k` if there are fewer rows.
    """
    wrong = (~right).astype(np.int64)
    n_correct = right.sum(axis=1, dtype=np.int64)
    shared = np.zeros(len(right), dtype=np.int64)  # double faults with all chosen so far, summed
    free = np.ones(len(right), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(k, len(right)):
        n_pool = pool_size(len(chosen) + 1)
        # Multiplied by PER and by the number of chosen candidates, which is the same for all: no fractions.
        value = PER * max(1, len(chosen)) * n_correct[:n_pool] - PENALTY * shared[:n_pool]
        value[~free[:n_pool]] = np.iinfo(np.int64).min
        best = int(value.argmax())  # the first of equals
        chosen.append(best)
        free[best] = False
        shared += wrong @ wrong[best]
    return chosen
