"""What a run finds, as values: accuracies and differences with their intervals, curves, the test split's verdict.

Models only: reading a stored result must not wait for SciPy or PyTorch.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.voting import VoteRule


class Accuracy(BaseModel):
    """A share of correct answers with its 95 % Wilson interval; counts are what is exact."""

    model_config = ConfigDict(frozen=True)

    n_correct: int
    n: int
    value: float
    low: float
    high: float


class Difference(BaseModel):
    """A difference of two accuracies on the same examples, with its 95 % paired bootstrap interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


class CurvePoint(BaseModel):
    """Accuracy of a vote of K on one split."""

    model_config = ConfigDict(frozen=True)

    k: int
    rule: VoteRule
    accuracy: Accuracy


class Evaluation(BaseModel):
    """What the test split says; every accuracy is on the same examples."""

    model_config = ConfigDict(frozen=True)

    k: int
    rule: VoteRule
    base: Accuracy
    best_single: Accuracy
    ensemble: Accuracy
    ensemble_minus_base: Difference
    best_single_minus_base: Difference
    ensemble_minus_best_single: Difference
    test_curve: tuple[CurvePoint, ...]
