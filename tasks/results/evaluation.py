"""The evaluation on the test split, as values.

Models only, in every file of this folder: reading a stored result must not wait for SciPy or PyTorch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.intervals import Accuracy, Difference

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
