"""Discordance: how differently tasks rank the same candidates. Per sigma, never pooled (docs/design.md#method).

`D = 1 - mean off-diagonal Pearson correlation` between the columns of the candidates x tasks matrix of percentile ranks
(Gan & Isola 2026, "Neural Thickets"). D near 0 means that one ranking serves all tasks (generalists), D near 1 that no
two tasks share their best candidates (specialists).

Noise alone raises D. A candidate's score on few questions is partly luck, luck is not shared between tasks, and so two
tasks for which the candidates are truly equally good correlate at `sqrt(r_a * r_b)` only, where r is how well a task's
ranking agrees with its own on other questions (attenuation, Spearman 1904). So D is always given beside that noise
floor; a verdict rests on the excess over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thickets.tasks.results.discordance import LeftOut, RankedTask, SigmaDiscordance
from thickets.tasks.statistics import CONFIDENCE

LEAST_CANDIDATES = 3
# Resamples of fewer candidates are too alike: their intervals exclude 0 too often.
LEAST_FOR_INTERVAL = 10
_LEAST_KNOWN = 0.95  # share of the resamples that must have a value: dropping more would bias the interval
_RESAMPLES = 1000
_HALVINGS = 30

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaskScores:
    """The answers of the candidates of one sigma to the questions of one task.

    Attributes:
        task: Its label, unique among the tasks.
        scores: Score of each candidate on each question in thousandths, `[n_candidates, n_questions]`; every task has
            the same candidates in the same order, and questions of its own. Only their order counts, so whether a
            question is right will do.
        is_expert: Whether the task's own run selected the candidate, `[n_candidates]`.
    """

    task: str
    scores: NDArray[np.int64] | NDArray[np.bool_]
    is_expert: NDArray[np.bool_]

    @property
    def totals(self) -> NDArray[np.int64]:
        """Sum of each candidate's scores, `[n_candidates]`."""
        return np.asarray(self.scores.sum(axis=1, dtype=np.int64))


def discordance(sigma: float, tasks: Sequence[TaskScores], seed: int = 0) -> SigmaDiscordance:
    """Compare how tasks rank the same candidates.

    The intervals are percentile bootstraps over candidates, ranks made anew in every resample. The excess over the
    noise floor is resampled as one figure, since the same candidates are in both. Simulated for three tasks of 48
    questions and 24 candidates, 100 times each: where the tasks truly agree, the excess is found to be above 0 in 0 to
    1 %; where they are independent, D's interval covers 1 in 91 to 94 %. Fewer than 10 candidates get no interval.

    Args:
        sigma: Of all candidates.
        tasks: Two or more.
        seed: Of the resampling and of the halvings; equal seeds give equal figures.

    Returns:
        A result with a reason and no value for fewer than 3 candidates or fewer than 2 tasks that rank them.
    """
    n = len(tasks[0].totals) if tasks else 0
    ranking = [task for task in tasks if len(set(task.totals.tolist())) > 1]
    ranked = {task.task for task in ranking}
    left_out = tuple(
        LeftOut(task=task.task, reason=f"all {n} candidates have the same score, which ranks none of them")
        for task in tasks
        if task.task not in ranked
    )
    reason = None
    if n < LEAST_CANDIDATES:
        reason, left_out = f"{n} candidates in common; {LEAST_CANDIDATES} are the fewest that can be ranked", ()
    elif len(ranking) < 2:
        reason = "fewer than 2 tasks rank the candidates"
    if reason is not None:
        return SigmaDiscordance(sigma=sigma, n_candidates=n, left_out=left_out, reason=reason)

    rng = np.random.default_rng(seed)
    # How often each candidate is drawn, [1 + resamples, n]; the first row is the sample itself.
    drawn = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES)])
    columns = [percentiles(drawn, task.totals) for task in ranking]
    pairs = {(a, b): correlation(drawn, columns[a], columns[b]) for a, b in combinations(range(len(ranking)), 2)}
    value = 1 - np.mean(list(pairs.values()), axis=0)
    halves = [_agreement_of_halves(drawn, task.scores, rng) for task in ranking]
    reliabilities = [spearman_brown(each) for each in halves]
    floor = 1 - np.mean([attenuated(reliabilities[a], reliabilities[b]) for a, b in pairs], axis=0)
    excess = value - floor
    low, high = _interval(value) if n >= LEAST_FOR_INTERVAL else (None, None)
    excess_low, excess_high = _interval(excess) if n >= LEAST_FOR_INTERVAL else (None, None)
    matrix = np.eye(len(ranking))
    for (a, b), found in pairs.items():
        matrix[a, b] = matrix[b, a] = found[0]
    return SigmaDiscordance(
        sigma=sigma,
        n_candidates=n,
        tasks=tuple(
            RankedTask(
                task=task.task,
                n_questions=task.scores.shape[1],
                halves=_known(1 - half[0]),
                reliability=_known(reliability[0]),
            )
            for task, half, reliability in zip(ranking, halves, reliabilities, strict=True)
        ),
        left_out=left_out,
        value=float(value[0]),
        low=low,
        high=high,
        floor=_known(floor[0]),
        excess=_known(excess[0]),
        excess_low=excess_low,
        excess_high=excess_high,
        correlations=tuple(map(tuple, matrix.tolist())),
        n_experts=tuple(int(task.is_expert.sum()) for task in ranking),
        expert_percentiles=tuple(
            tuple(float(column[0][task.is_expert].mean()) if task.is_expert.any() else None for column in columns)
            for task in ranking
        ),
    )


def percentiles(drawn: _Floats, scores: NDArray[np.int64]) -> _Floats:
    """Compute percentile ranks, 0 to 1, ties given their mean rank, in every resample anew.

    `(rank - 1/2) / n` with the ranks of `scipy.stats.rankdata`, so their mean is 1/2. Scores take few values, so
    counting how many candidates have each ranks a thousand resamples at once, where sorting each would take seconds.

    Args:
        drawn: How often each candidate is in each resample, `[n_resamples, n_candidates]`.
        scores: `[n_candidates]`.

    Returns:
        `[n_resamples, n_candidates]`.
    """
    values, place = np.unique(scores, return_inverse=True)
    times = drawn @ np.eye(len(values))[place]  # [n_resamples, n_values]
    return np.asarray((times.cumsum(axis=1) - times / 2)[:, place] / len(scores))


def correlation(drawn: _Floats, first: _Floats, second: _Floats) -> _Floats:
    """Correlate percentile ranks (Pearson) in every resample, `[n_resamples]`; NaN where all of either are equal."""
    x, y = first - 0.5, second - 0.5
    scale = np.sqrt((drawn * x * x).sum(axis=1) * (drawn * y * y).sum(axis=1))
    found = np.full(len(drawn), np.nan)
    np.divide((drawn * x * y).sum(axis=1), scale, out=found, where=scale > 0)
    return found


def spearman_brown(halves: _Floats) -> _Floats:
    """Convert the correlation of two halves to that of two wholes, twice as long (Spearman 1910, Brown 1910).

    Negative values, which are chance alone, mirror positive ones: clipped to 0, noise would not average to 0.
    """
    return np.asarray(2 * halves / (1 + np.abs(halves)))


def attenuated(first: _Floats, second: _Floats) -> _Floats:
    """Return the correlation of two tasks that truly rank alike, given their reliabilities: `sqrt(r_a * r_b)`.

    It is 0 where one of them is negative, and `-sqrt(r_a * r_b)` where both are, so that noise averages to 0.
    """
    return np.asarray(np.sign(first + second) * np.sqrt(np.clip(first * second, 0, None)))


def _agreement_of_halves(drawn: _Floats, scores: NDArray[Any], rng: np.random.Generator) -> _Floats:
    """Correlate a task with itself on two halves of its questions, `[n_resamples]`.

    The mean over many halvings, since a single one depends on luck. NaN where no halving has a correlation.
    """
    half = scores.shape[1] // 2
    found = []
    for _ in range(_HALVINGS):
        order = rng.permutation(scores.shape[1])
        one, other = (scores[:, part].sum(axis=1, dtype=np.int64) for part in (order[:half], order[half : 2 * half]))
        found.append(correlation(drawn, percentiles(drawn, one), percentiles(drawn, other)))
    values = np.array(found)
    known = ~np.isnan(values)
    n_known = known.sum(axis=0)
    mean = np.full(len(drawn), np.nan)
    np.divide(np.where(known, values, 0).sum(axis=0), n_known, out=mean, where=n_known > 0)
    return mean


def _interval(resampled: _Floats) -> tuple[float | None, float | None]:
    """Return the middle 95 % of the resamples; Nones where too many of them, or the sample itself, are NaN."""
    values = resampled[1:][~np.isnan(resampled[1:])]
    if np.isnan(resampled[0]) or len(values) < _LEAST_KNOWN * (len(resampled) - 1):
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
