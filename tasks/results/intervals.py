"""Shares, mean scores, differences and correlations with their 95 % intervals, as values. Models only."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Accuracy(BaseModel):
    """The mean score of some answers, with its 95 % interval (Wilson's; see `thickets.tasks.statistics.accuracy`).

    Where answers are right or wrong and no more, the mean score is the share that is right.

    Attributes:
        n_correct: Correct answers; rounded for an expectation.
        value: The mean score, from 0 to 1.
        is_exact: Whether `value` is an expectation that is known exactly (chance); then `low` and `high` equal it.
        points: Sum of the scores in thousandths, if an answer scores between wrong and right; None where none does,
            and each correct one is worth 1000.
    """

    model_config = ConfigDict(frozen=True)

    n_correct: int
    n: int
    value: float
    low: float
    high: float
    is_exact: bool = False
    points: int | None = None

    @property
    def is_graded(self) -> bool:
        """Whether an answer scores between wrong and right, so that `value` is not the share that is right."""
        return self.points is not None

    @property
    def total(self) -> int:
        """Sum of the scores in thousandths; of the same answers to the same questions, this is what ranks."""
        return 1000 * self.n_correct if self.points is None else self.points

    @property
    def share_right(self) -> float:
        """Share of the answers that are right."""
        return self.n_correct / self.n if self.is_graded else self.value


class Share(BaseModel):
    """A share with its 95 % Wilson interval; the counts are exact."""

    model_config = ConfigDict(frozen=True)

    count: int
    n: int
    value: float
    low: float
    high: float


class Difference(BaseModel):
    """A difference of two mean scores on the same examples, with its 95 % paired bootstrap interval.

    Against an expectation (chance at random) there are no pairs; see `thickets.tasks.statistics.minus_expectation`.

    Attributes:
        n: Examples.
        n_better: Examples on which the first of the two scores higher, so that it alone is right where answers are
            right or wrong; 0 against an expectation.
        n_worse: Examples on which the second scores higher; 0 against an expectation.
        p_value: Exact McNemar test, which is the sign test; see `thickets.tasks.statistics.mcnemar`.
        examples_needed: Examples at which a true difference of this size would be told from 0 (80 % power at 95 %).
            None where the difference is 0.
        is_graded: Whether a score lies between wrong and right.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    n: int
    n_better: int
    n_worse: int
    p_value: float
    examples_needed: int | None
    is_graded: bool = False

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


class RankCorrelation(BaseModel):
    """Spearman correlation of selection and validation scores, with its 95 % interval.

    Only candidates with both scores count, and they are the best of the selection split, which weakens a correlation
    (restriction of range).

    Attributes:
        value: None where there is no correlation.
        n_candidates: Candidates with both scores.
        n_population: Candidates with a selection score.
        reason: Why there is no correlation, or no interval.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None
    n_candidates: int
    n_population: int
    reason: str | None = None
