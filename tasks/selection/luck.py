"""The winner's curse: corrects the best candidate's accuracy for having been chosen by its score.

`luck` gives the best score to expect if all candidates of a sigma were equally good, `true_accuracy` the accuracy on
new questions, given how much the candidates really differ. Sigmas are never pooled.

All candidates answer the same questions, and most questions are easy or hard for nearly all of them. That moves all
scores together and does not distinguish candidates. So noise is here how much candidates differ on one question, which
is a third to two thirds of the noise of independent binomial scores (measured on the quickstart).

Nothing of this needs answers that are right or wrong and no more, but the distribution of the sum of a candidate's
scores by luck: Poisson-binomial where they are, and elsewhere normal, with the same mean and variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, stats

from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.thicket import BestCandidate
from thickets.tasks.statistics import CONFIDENCE, accuracy, wilson
from thickets.tasks.types import FULL

_GRID = 400


@dataclass(frozen=True)
class SigmaCounts:
    """Summed scores of the candidates of one sigma on the same questions.

    Attributes:
        sigma: Of all candidates.
        by_candidate: Questions that each candidate has right, `[n_candidates]`; its points in thousandths where scores
            lie between wrong and right.
        by_question: Candidates that have each question right, or their points, `[n_questions]`; the sum is the same.
        squares: Sum of the squared scores on each question, `[n_questions]`; None where an answer is right or wrong.
    """

    sigma: float
    by_candidate: Sequence[int]
    by_question: Sequence[int]
    squares: Sequence[int] | None = None

    @property
    def unit(self) -> int:
        """Score of an answer with full marks: 1 where answers are right or wrong, else 1000."""
        return 1 if self.squares is None else FULL

    @property
    def full(self) -> int:
        """Score of a candidate that has full marks on every question."""
        return self.unit * self.n_questions

    def points(self, score: int) -> int:
        """Return a candidate's score in thousandths."""
        return score * (FULL // self.unit)

    @property
    def n_candidates(self) -> int:
        """Number of candidates."""
        return len(self.by_candidate)

    @property
    def n_questions(self) -> int:
        """Number of questions that each candidate answered."""
        return len(self.by_question)

    @cached_property
    def difficulty(self) -> NDArray[np.float64]:
        """Mean score of the candidates on each question, 0 to 1: the share that has it right, `[n_questions]`."""
        return np.asarray(self.by_question) / (self.unit * self.n_candidates)

    @cached_property
    def variance(self) -> NDArray[np.float64]:
        """Variance of the candidates' scores on each question, `[n_questions]`."""
        if self.squares is None:
            return np.asarray(self.difficulty * (1 - self.difficulty))
        # In whole numbers, so that equal scores have a variance of exactly 0 and none has one below it.
        n, sums = self.n_candidates, np.asarray(self.by_question, dtype=np.int64)
        return np.asarray((n * np.asarray(self.squares, dtype=np.int64) - sums**2) / (FULL * n) ** 2)


def sigma_counts(board: pl.DataFrame, questions: pl.DataFrame) -> list[SigmaCounts]:
    """Sum scores per candidate and per question, by sigma; all of them in one unit.

    Args:
        board: sigma, points; a row per candidate.
        questions: sigma, points, squares; a row per sigma and question.
    """
    unit = unit_of(int(questions["points"].sum()), int(questions["squares"].sum()))

    def of(frame: pl.DataFrame, sigma: float, name: str = "points") -> list[int]:
        found = frame.filter(pl.col("sigma") == sigma)[name]
        return (found // FULL if unit == 1 else found).to_list()

    return [
        SigmaCounts(
            sigma, of(board, sigma), of(questions, sigma), None if unit == 1 else of(questions, sigma, "squares")
        )
        for sigma in sorted(board["sigma"].unique())
    ]


def table_counts(sigma: float, scores: NDArray[np.int64], unit: int) -> SigmaCounts:
    """Sum the scores of the candidates of one sigma.

    Args:
        sigma: Of all candidates.
        scores: In thousandths, `[n_candidates, n_questions]`.
        unit: See `unit_of`.
    """
    scores = scores // (FULL // unit)
    squares = None if unit == 1 else (scores**2).sum(axis=0).tolist()
    return SigmaCounts(sigma, scores.sum(axis=1).tolist(), scores.sum(axis=0).tolist(), squares)


def unit_of(points: int, squares: int) -> int:
    """Return 1 if every score behind these sums is 0 or 1000, so that right answers can be counted; else 1000.

    Args:
        points: Sum of scores in thousandths.
        squares: Sum of their squares.
    """
    return 1 if squares == FULL * points else FULL


def best_candidate(groups: Sequence[SigmaCounts], sigma: float, observed: Accuracy | None = None) -> BestCandidate:
    """Judge the best candidate of a population, which has this sigma.

    Args:
        groups: Every candidate, by sigma, each sigma once.
        sigma: Of the best candidate; where sigmas tie, of the one that is ranked first.
        observed: Its mean score; None where answers are right or wrong, so that its count says all.
    """
    group = next(group for group in groups if group.sigma == sigma)
    best, n = max(group.by_candidate), group.n_questions
    by_luck, p_value = luck(groups, best)
    value, low, high = true_accuracy(group, best)
    return BestCandidate(
        sigma=sigma,
        n_candidates=sum(each.n_candidates for each in groups),
        observed=observed or accuracy(best, n),
        by_luck=by_luck,
        p_value=p_value,
        corrected=value,
        corrected_low=low,
        corrected_high=high,
    )


def luck(groups: Sequence[SigmaCounts], best: int) -> tuple[float, float]:
    """Compute the best of all candidates if those of one sigma were equally good.

    They then differ by chance alone: which candidates have a question right is drawn anew for every question, and a
    candidate's score is the sum of such draws (`by_chance`). The probability that any of N scores is so high is at
    most N times that of one, even if they depend on each other, so the p value is an upper bound.

    Returns:
        Expected mean score of the best, and the probability that it has a score of at least `best`.
    """
    full = groups[0].full
    at_most, p_value = np.ones(full), 0.0
    for group in groups:
        score = by_chance(group)
        at_most *= np.clip(score.cdf(np.arange(full)), 0, 1) ** group.n_candidates
        p_value += group.n_candidates * float(np.clip(score.sf(best - 1), 0, 1))
    return float((1 - at_most).mean()), min(1.0, p_value)


def by_chance(group: SigmaCounts) -> Any:
    """Return the distribution of a candidate's score if all candidates are equally good (SciPy's, frozen)."""
    if group.squares is None:
        return stats.poisson_binom(group.difficulty)
    mean, variance = FULL * group.difficulty.sum(), group.variance.sum()
    if variance == 0:  # chance has nothing to draw, and a normal distribution needs a width
        return stats.rv_discrete(values=([round(mean)], [1.0]))
    return stats.norm(mean, FULL * np.sqrt(variance))


def true_accuracy(group: SigmaCounts, count: int) -> tuple[float, float, float]:
    """Estimate the accuracy on new questions of a candidate with a score of `count`, given all of its sigma.

    Score = accuracy of the sigma + how much better the candidate is + how hard the questions are + noise: normal
    empirical-Bayes shrinkage of the candidate's lead (Efron & Morris 1975; that a posterior needs no further correction
    for picking the largest: Efron 2011, "Tweedie's formula and selection bias"). The candidates' true spread t is not
    plugged in but averaged over, every t being as likely as any other before the data (Gelman 2006): the best fit is
    often t = 0, and would leave an interval of no width.

    Returns:
        Its mean, and the ends of its 95 % interval, which allows for new questions that are easier or harder.
    """
    posterior, n = _posterior(group, count), group.n_questions
    if posterior is None:
        if group.squares is None:
            plain = accuracy(count, n)
            return plain.value, plain.low, plain.high
        # No narrower than an interval that would take the variance of the candidate's own scores.
        return count / group.full, *wilson(count / group.full, n)
    weight, centre, spread = posterior.weight, posterior.centre, posterior.deviation
    questions = float(group.difficulty.var(ddof=1)) / n
    deviation = np.sqrt(spread**2 + questions)

    def quantile(q: float) -> float:
        ends = float((centre - 9 * deviation).min()), float((centre + 9 * deviation).max())
        found = optimize.brentq(lambda x: float((weight * stats.norm.cdf(x, centre, deviation)).sum()) - q, *ends)
        return float(np.clip(found, 0, 1))

    tail = (1 - CONFIDENCE) / 2
    return posterior.mean, quantile(tail), quantile(1 - tail)


def posterior_mean(group: SigmaCounts, count: int) -> float:
    """Return the expected accuracy on new questions of a candidate with a score of `count`, as `true_accuracy`.

    Among candidates of one sigma it rises with `count`; how steeply depends on how much they really differ.
    """
    posterior = _posterior(group, count)
    return count / group.full if posterior is None else posterior.mean


@dataclass(frozen=True)
class Abilities:
    """Distribution of the true accuracies of one sigma's candidates: a normal one per possible spread.

    Attributes:
        n_candidates: Candidates with a score.
        mean: Their mean accuracy.
        spread: Standard deviation of the true accuracies, `[_GRID]`.
        noise: Variance of a score by chance alone, given the spread, `[_GRID]`.
        weight: How likely each spread is, `[_GRID]`; the sum is 1.
    """

    n_candidates: int
    mean: float
    spread: NDArray[np.float64]
    noise: NDArray[np.float64]
    weight: NDArray[np.float64]

    @property
    def expected_spread(self) -> float:
        """Mean of the spread."""
        return float((self.weight * self.spread).sum())

    def above(self, accuracy: float) -> float:
        """Return the probability that a new candidate is better than `accuracy`, on questions as hard as these."""
        return float((self.weight * stats.norm.sf(accuracy, self.mean, self._deviation)).sum())

    def excess(self, accuracy: float) -> float:
        """Return the expected lead of a new candidate over `accuracy`, counted as 0 where it is below.

        The expected improvement of Mockus (1975), averaged over the spreads.
        """
        lead = (self.mean - accuracy) / self._deviation
        return float((self.weight * self._deviation * (lead * stats.norm.cdf(lead) + stats.norm.pdf(lead))).sum())

    @cached_property
    def _deviation(self) -> NDArray[np.float64]:
        """Standard deviation of a new candidate's accuracy: the spread and the error of the mean, `[_GRID]`."""
        return np.sqrt(self.spread**2 + (self.spread**2 + self.noise) / self.n_candidates)


def abilities(group: SigmaCounts) -> Abilities | None:
    """Estimate how much the candidates of a sigma truly differ; see `true_accuracy`.

    Returns:
        None for fewer than 3 candidates, or where no question tells candidates apart.
    """
    n_candidates, n = group.n_candidates, group.n_questions
    within = float(group.variance.mean())
    if n_candidates < 3 or within == 0:
        return None
    within *= n_candidates / (n_candidates - 1)
    accuracies = np.asarray(group.by_candidate) / group.full
    mean, squares = float(accuracies.mean()), float(((accuracies - accuracies.mean()) ** 2).sum())
    noise_alone = np.sqrt(within / n)
    largest = min(np.sqrt(within), 5 * max(noise_alone, np.sqrt(squares / (n_candidates - 1))))
    spread = (np.arange(_GRID) + 0.5) / _GRID * largest
    # On one question candidates differ by their true spread and by noise; `within` is both.
    noise = (within - spread**2) / n
    total = spread**2 + noise
    log_weight = -(n_candidates - 1) / 2 * np.log(total) - squares / (2 * total)
    weight = np.exp(log_weight - log_weight.max())
    return Abilities(n_candidates, mean, spread, noise, weight / weight.sum())


@dataclass(frozen=True)
class _Posterior:
    """A mixture of normal distributions of a candidate's accuracy, one per spread that the candidates may have.

    Attributes:
        weight: How likely each spread is, `[_GRID]`.
        centre: Expected accuracy, given the spread, `[_GRID]`.
        deviation: Standard deviation on questions as hard as these, given the spread, `[_GRID]`.
    """

    weight: NDArray[np.float64]
    centre: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @property
    def mean(self) -> float:
        return float(np.clip((self.weight * self.centre).sum(), 0, 1))


def _posterior(group: SigmaCounts, count: int) -> _Posterior | None:
    """Return the mixture behind `true_accuracy`; None where `abilities` is."""
    if (known := abilities(group)) is None:
        return None
    spread, total = known.spread, known.spread**2 + known.noise
    kept = spread**2 / total  # share of a lead that is real
    centre = known.mean + kept * (count / group.full - known.mean)
    deviation = np.sqrt(spread**2 * (1 - kept) + (1 - kept) ** 2 * total / group.n_candidates)
    return _Posterior(known.weight, centre, deviation)
