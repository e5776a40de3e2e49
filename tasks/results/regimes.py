"""The neighbourhoods of several models on one problem, as values. Models only, like `evaluation` beside it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import RunCost
from thickets.tasks.results.intervals import Accuracy, Difference, Share
from thickets.tasks.results.thicket import BestCandidate, SigmaScores

MARGIN_POINTS = 5
"""The margin m of the solution density in figures and sentences; tables have others as well."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Regime(_Value):
    """One model, what surrounds it, and what its search has made of that.

    Attributes:
        name: Short, and no other model's of the group.
        model: As the configuration of its run names it.
        is_floor: Whether its weights are random: what training has given the others, it lacks.
        n_parameters: Elements of its stored weights; a tied tensor that is stored twice counts twice.
        prompt_form: Names the form of its prompts; models with the same one read the same text.
        tokenizer: Names its tokenizer's files; empty without one.
        base_selection: The base on the selection split, over which densities are counted.
        sigmas: The candidates by sigma; never pooled.
        best: The best candidate of the selection split, corrected for luck; its sigma is that of the figures.
        k: Experts that vote.
        base: On the test split, as the three below.
        best_single: The candidate with the best selection score.
        vote: The ensemble.
        vote_minus_base: Paired by question.
        n_tokens: Tokens generated in the whole run.
        cost: What its rows took to get and take to use; None in groups of versions that did not count it.
    """

    run_id: str
    name: str
    model: str
    model_sha256: str
    is_floor: bool
    n_parameters: int
    prompt_form: str
    tokenizer: str
    base_selection: Accuracy
    sigmas: tuple[SigmaScores, ...]
    best: BestCandidate
    k: int
    base: Accuracy
    best_single: Accuracy
    vote: Accuracy
    vote_minus_base: Difference
    n_tokens: int
    cost: RunCost | None = None

    def density(self, margin_points: int, sigma: float | None = None) -> Share:
        """Return the share of a sigma's candidates that beat the base by a margin.

        Args:
            margin_points: One that densities are counted at.
            sigma: None: that of the best candidate.
        """
        wanted = self.best.sigma if sigma is None else sigma
        row = next(each for each in self.sigmas if each.sigma == wanted)
        return next(point.share for point in row.density if point.margin_points == margin_points)


class Regimes(_Value):
    """The same problem and the same seeds around several models.

    Attributes:
        group_id: Names the folder of the result, and its run in MLflow.
        problem: What was asked.
        margin_points: The margin of the density in figures and sentences.
        models: The floor first, if there is one; then by number of parameters.
    """

    group_id: str
    problem: str
    margin_points: int
    models: tuple[Regime, ...]

    @property
    def floor(self) -> Regime | None:
        """The model with random weights."""
        return next((each for each in self.models if each.is_floor), None)

    @property
    def trained(self) -> tuple[Regime, ...]:
        """All others, by number of parameters."""
        return tuple(each for each in self.models if not each.is_floor)

    @property
    def is_one_size(self) -> bool:
        """Whether all but the floor have the same number of parameters, so that nothing can be said about size."""
        return len({each.n_parameters for each in self.trained}) < 2

    @property
    def is_graded(self) -> bool:
        """Whether an answer scores between wrong and right, so that the figures are mean scores."""
        return any(score.is_graded for each in self.models for score in (each.base, each.best_single, each.vote))
