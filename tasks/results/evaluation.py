"""Values that a run reports: figures with intervals, then the evaluation on the test split, then the thicket.

Only pydantic models are defined here: reading a stored result must not wait for SciPy or PyTorch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

VoteRule = Literal["majority", "weighted"]
Method: TypeAlias = Literal["top_k", "shrunken", "diverse"]
"""How candidates are ranked; see `thickets.tasks.selection.ranking`."""
ControlName: TypeAlias = Literal[
    "chance",
    "self_consistency",
    "random_experts",
    "weight_average",
    "merge",
    "best_prompt",
    "best_prompt_self_consistency",
]
Fate: TypeAlias = Literal["retained", "format_fixed", "reasoning_fixed", "unclear_fixed", "regressed", "still_wrong"]
"""The outcome of one test question; see `GainSplit`."""


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


class CurvePoint(BaseModel):
    """Accuracy on one split when the first K of a ranking vote."""

    model_config = ConfigDict(frozen=True)

    method: Method = "top_k"  # the only one there was in versions that do not name it
    k: int
    rule: VoteRule
    accuracy: Accuracy


class Control(BaseModel):
    """Accuracy of one control on the test split, and the tokens that it generated there.

    Attributes:
        detail: Full text of a control's prompt template, for which the label has no room. None for other controls.
    """

    model_config = ConfigDict(frozen=True)

    name: ControlName
    label: str
    detail: str | None = None
    accuracy: Accuracy
    n_tokens: int
    minus_base: Difference
    ensemble_minus: Difference


class AnswerTokens(BaseModel):
    """Tokens generated on the test split."""

    model_config = ConfigDict(frozen=True)

    base: int
    best_single: int
    ensemble: int


def vote_in_words(rule: VoteRule, metric: str | None) -> str:
    """Return the kind of a vote: ``majority``, ``weighted``, ``closest-text``, ``weighted closest-text``."""
    if metric is None:
        return rule
    return "weighted closest-text" if rule == "weighted" else "closest-text"


class Evaluation(BaseModel):
    """The result on the test split; every accuracy is on the same examples.

    Attributes:
        method: The ranking of which the first `k` vote.
        best_single: The candidate with the best score on the selection split, whatever the method.
        metric: Name of the similarity by which the answer that is closest to all others wins; None: the most frequent
            answer wins (`thickets.tasks.problems.consensus`).
    """

    model_config = ConfigDict(frozen=True)

    method: Method = "top_k"
    k: int
    rule: VoteRule
    base: Accuracy
    best_single: Accuracy
    ensemble: Accuracy
    ensemble_minus_base: Difference
    best_single_minus_base: Difference
    ensemble_minus_best_single: Difference
    test_curve: tuple[CurvePoint, ...]
    n_tokens: AnswerTokens
    controls: tuple[Control, ...] = ()
    metric: str | None = None

    @property
    def vote(self) -> str:
        """The kind of vote in words; see `vote_in_words`."""
        return vote_in_words(self.rule, self.metric)

    @property
    def is_graded(self) -> bool:
        """Whether an answer scores between wrong and right, so that the figures are mean scores."""
        found = (self.base, self.best_single, self.ensemble, *(control.accuracy for control in self.controls))
        return any(each.is_graded for each in found)


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
