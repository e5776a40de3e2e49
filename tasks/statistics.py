"""Intervals for what a run reports: a mean score, a share, a difference on the same examples, a rank correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import polars as pl
from scipy import stats

from thickets.tasks.results.intervals import Accuracy, Difference, RankCorrelation, Share
from thickets.tasks.types import FULL

CONFIDENCE = 0.95
POWER = 0.80
_RESAMPLES = 10_000
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


def accuracy(n_correct: int, n: int, points: int | None = None, squares: int | None = None) -> Accuracy:
    """Return a mean score with its Wilson interval (Wilson 1927, by SciPy).

    Where answers are right or wrong, that is the share that is right. Where a score lies between, `n` is replaced by
    the number of right or wrong answers that tell a mean as well: `n` divided by the design effect, the variance of the
    scores over that of right or wrong answers with the same mean, as for shares from surveys (Kott & Carr 1997,
    J. Official Statistics 13). One answer with the largest variance is added to those observed, so that a few equal
    scores do not prove that all are. Simulated, it covers the true mean in 95 to 96 % with 64 or 200 answers, and in 92
    to 97 % with 20, where the percentile bootstrap covers it in 90 to 93 %.

    Args:
        n_correct: Correct answers.
        n: Answers.
        points: Sum of their scores in thousandths; None: 1000 per correct answer.
        squares: Sum of the squared scores; None likewise.

    Raises:
        ValueError: If `n` is 0 or `n_correct` is not in 0..n.
    """
    if points is None or squares is None or squares == FULL * points:  # equal for scores of 0 and FULL alone
        low, high = _wilson(n_correct, n)
        return Accuracy(n_correct=n_correct, n=n, value=n_correct / n, low=low, high=high)
    # Both times n^2; the first is the unbiased estimate.
    variance, largest = (n * squares - points**2) * n / max(n - 1, 1), points * (FULL * n - points)
    design_effect = (n * min(variance, largest) + largest) / ((n + 1) * largest)
    value = points / (FULL * n)
    low, high = wilson(value, n / design_effect)
    return Accuracy(n_correct=n_correct, n=n, value=value, low=low, high=high, points=points)


def accuracy_of(answers: pl.DataFrame) -> Accuracy:
    """Return the mean score of some answers; see `accuracy`.

    Args:
        answers: correct, score (thousandths); a row per answer.

    Raises:
        ValueError: If there are no answers.
    """
    scores = answers["score"].cast(pl.Int64)
    return accuracy(int(answers["correct"].sum()), answers.height, int(scores.sum()), int((scores * scores).sum()))


def shares(answers: pl.DataFrame) -> list[float]:
    """Return the scores of some answers as shares of full marks, for `paired_difference`.

    Args:
        answers: score (thousandths); a row per answer.
    """
    return (answers["score"] / FULL).to_list()


def share(count: int, n: int) -> Share:
    """Return a share with its Wilson interval.

    Raises:
        ValueError: If `n` is 0 or `count` is not in 0..n.
    """
    low, high = _wilson(count, n)
    return Share(count=count, n=n, value=count / n, low=low, high=high)


def paired_difference(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Difference:
    """Compare the mean scores of `ours` and `theirs`, both on the same examples in the same order.

    The one decision rule of every verdict is `Difference.is_clear`: the 95 % interval of the percentile bootstrap
    excludes 0. Where there is no true difference it finds one in about 5 % of all cases or fewer: enumerated over all
    outcomes, whatever the share of the examples judged differently, in at most 5.1 % with 14 examples, 4.8 % with 64
    and 4.7 % with 128. The interval covers a true difference in 93 to 95 % (64 to 256 examples).

    Args:
        ours: Whether each answer is correct, or its score or the probability that it is correct, from 0 to 1,
            `[n_examples]`.
        theirs: Likewise for the respondent compared with, `[n_examples]`.
        seed: Of the bootstrap's resampling; equal seeds give equal figures.
    """
    gains = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    value = float(gains.mean())
    low = high = value
    if not np.all(gains == gains[0]):  # else there is nothing to resample
        interval = stats.bootstrap(
            (gains,),
            np.mean,
            n_resamples=_RESAMPLES,
            batch=1000,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    n, n_better, n_worse = len(gains), int((gains > 0).sum()), int((gains < 0).sum())
    is_graded = not np.all(np.isin(gains, (-1, 0, 1)))
    square = float((gains**2).mean())
    return Difference(
        value=value,
        low=low,
        high=high,
        n=n,
        n_better=n_better,
        n_worse=n_worse,
        p_value=mcnemar(n_better, n_worse),
        # In both, the mean squared gain is the variance of an example without any true difference.
        examples_needed=_examples_needed(value, square, square - value**2)
        if is_graded
        else examples_needed(n_better, n_worse, n),
        is_graded=is_graded,
    )


def minus_expectation(ours: Accuracy, expected: float) -> Difference:
    """Compare an accuracy with a number that is known exactly: guessing at random, whose answers nobody drew.

    Only for answers that are right or wrong: what a guess scores in part is not known. The interval is the Wilson
    interval of `ours` less that number. A bootstrap, which resamples what was observed, has
    no spread where nothing was right: it calls every run of 14 answers without a right one "worse than chance", which
    at a chance of 1 in 10 is 23 % of them. Wilson's interval finds a difference that is not there in at most 4.6 % on
    either side with 64 to 256 examples, 6.9 % with 14 and more (enumerated for chances of 1/2 to 1/10); where chances
    differ between questions, in fewer.

    Args:
        ours: An accuracy that was observed.
        expected: The expected accuracy compared with, in 0..1.

    Returns:
        No example is gained or lost against an expectation: both counts are 0. The p value is that of the exact
        binomial test.
    """
    value = ours.value - expected
    return Difference(
        value=value,
        low=ours.low - expected,
        high=ours.high - expected,
        n=ours.n,
        n_better=0,
        n_worse=0,
        p_value=float(stats.binomtest(ours.n_correct, ours.n, expected).pvalue),
        examples_needed=_examples_needed(value, expected * (1 - expected), ours.value * (1 - ours.value)),
    )


def mcnemar(n_better: int, n_worse: int) -> float:
    """Return the exact two-sided p value of McNemar's test (McNemar 1947).

    The null hypothesis: of the examples judged differently, half are better and half are worse. By how much does not
    count, so for graded answers it is the sign test.

    The test is reported beside `Difference.is_clear` and is stricter: it wrongly rejects in well under 5 % of all cases
    (0 to 4 %, enumerated as in `paired_difference`), so it can be a little above 0.05 where the interval excludes 0.

    Args:
        n_better: Examples that only ours has right; of graded answers, those on which ours scores higher.
        n_worse: Examples that only theirs has right; likewise.
    """
    n_discordant = n_better + n_worse
    return float(stats.binomtest(n_better, n_discordant).pvalue) if n_discordant else 1.0


def examples_needed(n_better: int, n_worse: int, n: int) -> int | None:
    """Count the examples at which a true difference as large as observed is told from 0, with 80 % power at 95 %.

    `(z_0.975 * sqrt(d) + z_0.8 * sqrt(d - e^2))^2 / e^2`, where e is the difference and d the share of examples judged
    differently (Connor 1987, Biometrics 43, 207-211; Miettinen 1968). The count includes the `n` examples observed.

    Returns:
        None where the observed difference is 0: no number of examples tells it from 0.
    """
    effect, discordance = (n_better - n_worse) / n, (n_better + n_worse) / n
    return _examples_needed(effect, discordance, discordance - effect**2)


def rank_correlation(first: Sequence[int], second: Sequence[int], n_population: int) -> RankCorrelation:
    """Compute Spearman's rank correlation of two scores of the same candidates, ties given their mean rank.

    The interval is Fisher's with the standard error of Bonett & Wright (2000), `sqrt((1 + r^2 / 2) / (n - 3))`; a
    perfect correlation counts half a swap of neighbours less, since a sample never proves one.

    Candidates with a validation score are the best of the selection split. That restricts their range, which weakens
    the correlation: among all candidates a true correlation is stronger than among the best of them.

    Args:
        first: One score per candidate, `[n_candidates]`.
        second: The other, `[n_candidates]`.
        n_population: Candidates of which these are the best.
    """
    n = len(first)

    def found(value: float | None, low: float | None, high: float | None, reason: str | None) -> RankCorrelation:
        return RankCorrelation(
            value=value, low=low, high=high, n_candidates=n, n_population=n_population, reason=reason
        )

    if n < 3:
        return found(None, None, None, f"{n} candidates have no rank correlation worth the name")
    if len(set(first)) == 1 or len(set(second)) == 1:
        return found(None, None, None, f"all {n} candidates have the same score")
    value = round(float(stats.spearmanr(first, second).statistic), 12)  # a perfect one comes as 0.9999999999999999
    if n == 3:
        return found(value, None, None, "3 candidates are too few for an interval")
    inside = np.clip(value, -1 + 6 / (n**3 - n), 1 - 6 / (n**3 - n))
    error = _Z * math.sqrt((1 + inside**2 / 2) / (n - 3))
    centre = math.atanh(inside)
    low, high = math.tanh(centre - error), math.tanh(centre + error)
    return found(value, -1.0 if value == -1 else low, 1.0 if value == 1 else high, None)


def _examples_needed(effect: float, variance_of_none: float, variance: float) -> int | None:
    """Count the examples for an effect, given the variance of one example without any effect and with this one."""
    if effect == 0:
        return None
    spread = _Z * math.sqrt(variance_of_none) + NormalDist().inv_cdf(POWER) * math.sqrt(variance)
    return math.ceil((spread / effect) ** 2)


def wilson(value: float, n: float) -> tuple[float, float]:
    """Compute Wilson's interval of a share that need not be one of whole answers.

    Of all scores from 0 to 1 with the same mean, those of right or wrong answers have the largest variance,
    `value * (1 - value)`. So for the mean of any such scores the interval is wide enough, and often wider.

    Args:
        value: The share, or the mean score.
        n: Answers.
    """
    centre = (value + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(value * (1 - value) / n + _Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _wilson(count: int, n: int) -> tuple[float, float]:
    interval = stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)
