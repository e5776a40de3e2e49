"""Results of rivals, as values: other ways to make one better model, with what they cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import Cost, RowCost
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.rival_method import RivalMethod


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class RivalPoint(_Result):
    """A model on the way, on the validation split; step 0 is the base.

    Attributes:
        step: Rounds of evolution strategies, or optimizer steps.
        cost: All that was spent until then, this look included.
        validation: Of the model after that step.
    """

    step: int
    cost: Cost
    validation: Accuracy


class Rival(_Result):
    """One rival on the run's test split.

    Attributes:
        method: Its key.
        label: Its name for people, with the settings that matter most.
        sha256: Of the chosen model's weights.
        points: The way, step 0 first.
        chosen_step: The first of the best on the validation split; 0 is the base.
        ended: Why it ended, as a clause: ``its budget was spent``.
        validation: Of the chosen model, by the run's engine.
        test: Likewise, once.
        minus_base: On the test split, question by question.
        minus_ensemble: Likewise.
        minus_best_single: Likewise.
        minus_merge: Likewise; None where the run has no merge.
        cost_to_get: All that was spent until its model was chosen.
        cost_to_use: Of its answers to the test split.
        n_tokens: Generated on the test split.
    """

    method: RivalMethod
    label: str
    sha256: str
    points: tuple[RivalPoint, ...]
    chosen_step: int
    ended: str
    validation: Accuracy
    test: Accuracy
    minus_base: Difference
    minus_ensemble: Difference
    minus_best_single: Difference
    minus_merge: Difference | None
    cost_to_get: Cost
    cost_to_use: Cost
    n_tokens: int

    @property
    def cost(self) -> RowCost:
        """What it took to get and takes to use, as a row of a result has it."""
        return RowCost(name=self.method, get=self.cost_to_get, use=self.cost_to_use, n=self.test.n)


def chosen_point(points: tuple[RivalPoint, ...]) -> RivalPoint:
    """Return the first of the best on the validation split.

    Raises:
        ValueError: If there is none.
    """
    return max(points, key=lambda point: (point.validation.total, -point.step))
