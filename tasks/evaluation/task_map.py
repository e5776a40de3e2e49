"""The map of candidates by tasks: every candidate on every task, against the base and among those of its sigma."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from thickets.tasks.evaluation.discordance import TaskScores, percentiles
from thickets.tasks.results.task_map import MappedCandidate, Overlap, SigmaMap
from thickets.tasks.results.thicket import BestCandidate
from thickets.tasks.selection.luck import best_candidate, table_counts, unit_of
from thickets.tasks.statistics import CONFIDENCE, accuracy, mcnemar
from thickets.tasks.types import FULL

# A quarter of fewer is one candidate, and says nothing.
LEAST_FOR_OVERLAP = 8
_BEST = 4
_ORDERS = 2000
_HALVINGS = 50

_Floats = NDArray[np.float64]
_mcnemar = cache(mcnemar)  # few counts occur, and often


def sigma_map(
    sigma: float,
    candidate_ids: Sequence[str],
    tasks: Sequence[TaskScores],
    base: Sequence[NDArray[np.int64]],
    seed: int = 0,
) -> SigmaMap:
    """Place the candidates of one sigma on the map.

    Args:
        sigma: Of all candidates.
        candidate_ids: The candidates in the order of the scores, at least one.
        tasks: Scores in thousandths, `[n_candidates, n_questions]` each.
        base: The base's score on each question of each task, `[n_questions]` each.
        seed: Of the orders drawn for what chance gives; equal seeds give equal figures.
    """
    n = len(candidate_ids)
    once = np.ones((1, n))
    columns = [percentiles(once, task.totals)[0] for task in tasks]
    over = [(task.scores.mean(axis=1) - own.mean()) / FULL for task, own in zip(tasks, base, strict=True)]
    differs = [_differs(task.scores, own) for task, own in zip(tasks, base, strict=True)]
    candidates = [
        MappedCandidate(
            candidate_id=name,
            over_base=tuple(float(each[place]) for each in over),
            percentiles=tuple(float(column[place]) for column in columns),
            differs=tuple(bool(each[place]) for each in differs),
            is_expert=tuple(bool(task.is_expert[place]) for task in tasks),
        )
        for place, name in enumerate(candidate_ids)
    ]
    return SigmaMap(
        sigma=sigma,
        candidates=tuple(sorted(candidates, key=lambda each: (-round(each.mean_percentile, 12), each.candidate_id))),
        best=tuple(_best(sigma, task) for task in tasks),
        overlap=overlap([task.scores for task in tasks], seed) if n >= LEAST_FOR_OVERLAP else None,
    )


def overlap(tables: Sequence[NDArray[np.int64] | NDArray[np.bool_]], seed: int = 0) -> Overlap:
    """Count the best quarter of the candidates that tasks have in common, against what chance gives.

    Candidates with equal scores at the edge of the quarter share the places that are left, instead of the first of them
    taking all: ties are broken by the seed in every task, and tasks would have those candidates in common for no other
    reason.

    Args:
        tables: Of each task, the score of every candidate on every question, `[n_candidates, n_questions]`.
        seed: Of the orders and halvings.
    """
    n = len(tables[0])
    n_best = n // _BEST
    rng = np.random.default_rng(seed)
    members = [best_share(table.sum(axis=1, dtype=np.int64), n_best) for table in tables]
    ranks = [len(set(table.sum(axis=1, dtype=np.int64).tolist())) > 1 for table in tables]
    shares: list[list[float | None]] = [[None] * len(tables) for _ in tables]
    low, high = np.zeros((len(tables), len(tables))), np.ones((len(tables), len(tables)))
    orders = np.array([rng.permutation(n) for _ in range(_ORDERS)])
    for place, table in enumerate(tables):
        shares[place][place] = _with_itself(table, n_best, rng) if ranks[place] else None
    for a, b in combinations(range(len(tables)), 2):
        if ranks[a] and ranks[b]:
            shares[a][b] = shares[b][a] = float(members[a] @ members[b] / n_best)
        by_chance = members[b][orders] @ members[a] / n_best
        ends = np.quantile(by_chance, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low[a, b], high[a, b] = low[b, a], high[b, a] = ends
    return Overlap(
        n_best=n_best,
        shares=tuple(map(tuple, shares)),
        by_chance=n_best / n,
        low=tuple(map(tuple, low.tolist())),
        high=tuple(map(tuple, high.tolist())),
    )


def best_share(totals: NDArray[np.int64], n_best: int) -> _Floats:
    """Return how far each candidate is one of the `n_best`, 0 to 1, `[n_candidates]`; the sum is `n_best`."""
    edge = np.sort(totals)[len(totals) - n_best]
    above, at = totals > edge, totals == edge
    return np.where(above, 1.0, np.where(at, (n_best - above.sum()) / at.sum(), 0.0))


def _with_itself(table: NDArray[np.int64] | NDArray[np.bool_], n_best: int, rng: np.random.Generator) -> float:
    """Return the share of the best that a task has in common with itself on two halves of its questions."""
    half = table.shape[1] // 2
    found = []
    for _ in range(_HALVINGS):
        order = rng.permutation(table.shape[1])
        one, other = (
            best_share(table[:, part].sum(axis=1, dtype=np.int64), n_best)
            for part in (order[:half], order[half : 2 * half])
        )
        found.append(float(one @ other / n_best))
    return float(np.mean(found))


def _differs(scores: NDArray[np.int64] | NDArray[np.bool_], base: NDArray[np.int64]) -> NDArray[np.bool_]:
    better, worse = (scores > base).sum(axis=1), (scores < base).sum(axis=1)
    return np.array(
        [_mcnemar(*each) < 1 - CONFIDENCE for each in zip(better.tolist(), worse.tolist(), strict=True)], dtype=np.bool_
    )


def _best(sigma: float, task: TaskScores) -> BestCandidate:
    scores = np.asarray(task.scores, dtype=np.int64)
    unit = unit_of(int(scores.sum()), int((scores**2).sum()))
    own = scores[int(task.totals.argmax())]
    observed = accuracy(int((own == FULL).sum()), own.size, int(own.sum()), int((own**2).sum()))
    return best_candidate([table_counts(sigma, scores, unit)], sigma, observed)
