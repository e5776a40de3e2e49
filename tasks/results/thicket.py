"""The neighbourhood of the base and its experts, described in values. Models only."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.intervals import Accuracy, RankCorrelation, Share

Fate: TypeAlias = Literal["retained", "format_fixed", "reasoning_fixed", "unclear_fixed", "regressed", "still_wrong"]
"""The outcome of one test question; see `GainSplit`."""


class DensityPoint(BaseModel):
    """Share of the candidates of one sigma that beat the base by a margin: delta(m) of Gan & Isola 2026.

    Attributes:
        margin_points: m, in percentage points of the split's questions.
        share: Of the candidates. Its interval allows for the number of candidates only. The number of questions limits
            how exact the scores are; the further m is from 0, the more of the share is luck.
    """

    model_config = ConfigDict(frozen=True)

    margin_points: int
    share: Share


class SigmaScores(BaseModel):
    """Scores of the candidates of one sigma on the selection split.

    They are whole numbers, of which `unit * n_examples` is full marks: counts of correct answers where answers are
    right or wrong, and thousandths where scores lie between.

    Attributes:
        base_n_correct: Correct answers of the base.
        quantiles: Smallest, lower quartile, median, upper quartile, largest; each the score of some candidate.
        histogram: How many candidates have each score that occurs.
        density: A point per margin.
        unit: Score of one answer with full marks, in the unit of these scores: 1 or 1000.
        base_points: Sum of the base's scores in thousandths; None where it is 1000 per correct answer.
    """

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    n_examples: int
    base_n_correct: int
    quantiles: tuple[int, int, int, int, int]
    histogram: dict[int, int]
    density: tuple[DensityPoint, ...]
    unit: int = 1
    base_points: int | None = None

    def points(self, score: int) -> int:
        """Return one of these scores in thousandths."""
        return score * (1000 // self.unit)

    @property
    def base_total(self) -> int:
        """Score of the base in thousandths."""
        return 1000 * self.base_n_correct if self.base_points is None else self.base_points


class BestCandidate(BaseModel):
    """The best of many noisy scores, corrected for the winner's curse.

    Attributes:
        sigma: Of the best candidate.
        n_candidates: Candidates of every sigma, of which this is the best.
        observed: Its accuracy on the selection split; biased upwards, because the candidate was chosen for it.
        by_luck: Expected accuracy of the best if all candidates of one sigma were equally good.
        p_value: How often luck alone gives a best candidate at least as good.
        corrected: Its expected accuracy on new questions.
        corrected_low: Lower end of the 95 % interval of `corrected`.
        corrected_high: Upper end.
    """

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    observed: Accuracy
    by_luck: float
    p_value: float
    corrected: float
    corrected_low: float
    corrected_high: float

    @property
    def is_more_than_luck(self) -> bool:
        """Whether luck alone gives so good a best candidate in fewer than 5 of 100 populations."""
        return self.p_value < 0.05


class Agreement(BaseModel):
    """Counts of questions on which a pair of experts gives the same answer; an abstention agrees with nothing.

    Attributes:
        n: Questions.
        n_same: By rank, `[k][k]`; on the diagonal, how many questions the expert answered.
        mean: Mean share over all pairs; None for a single expert.
        metric: Where answers are texts, the name of their similarity. A question then counts as much as the two answers
            are similar, n and n_same are in thousandths of questions, and mean is the mean similarity.
    """

    model_config = ConfigDict(frozen=True)

    n: int
    n_same: tuple[tuple[int, ...], ...]
    mean: float | None
    metric: str | None = None


class GainSplit(BaseModel):
    """Test questions counted by whether base and ensemble are right; the counts add up to the test split.

    Attributes:
        retained: Base and ensemble right.
        format_fixed: Ensemble right; the base's reply names the right answer, but not in the place or format required.
        reasoning_fixed: Ensemble right; the right answer is nowhere in the base's reply.
        unclear_fixed: Ensemble right, base wrong, and the reply does not show which of the two it is.
        regressed: Base right, ensemble wrong.
        still_wrong: Both wrong.
    """

    model_config = ConfigDict(frozen=True)

    retained: int
    format_fixed: int
    reasoning_fixed: int
    unclear_fixed: int
    regressed: int
    still_wrong: int


class ThicketDescription(BaseModel):
    """The neighbourhood of the base model, and the agreement and gains of its experts.

    Attributes:
        sigmas: Selection split; by sigma, never pooled.
        correlation: Of selection and validation scores.
        best: The best candidate of the selection split.
        agreement: Of the experts that vote, on the test split.
        oracle: Test questions that at least one of these experts has right, or the best score of any of them on each
            question: an upper bound for any vote of theirs.
        gains: The test questions, counted by fate.
        changed: Fates of the questions that the ensemble fixed or regressed, by example id in the order of the split.
    """

    model_config = ConfigDict(frozen=True)

    sigmas: tuple[SigmaScores, ...]
    correlation: RankCorrelation
    best: BestCandidate
    agreement: Agreement
    oracle: Accuracy
    gains: GainSplit
    changed: dict[str, Fate]
