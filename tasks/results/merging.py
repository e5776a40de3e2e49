"""What a run found out about merges."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.evaluation import Accuracy, Difference


class MergeTrial(BaseModel):
    """One merge on the validation split.

    Attributes:
        id: Of the model, as its scores are kept.
        label: What people call it.
        k: Candidates in it.
        radius: Its distance from the base, in distances of one candidate.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    label: str
    k: int
    radius: float
    accuracy: Accuracy


class MergeChoice(BaseModel):
    """The merges of a run on its validation split, and whether one of them stands.

    Attributes:
        trials: All that were tried, in the order in which they were planned.
        best: Index of the one with the best score; of equally good ones the first.
        minus_base: Its score less the base's, on the validation split.
    """

    model_config = ConfigDict(frozen=True)

    trials: tuple[MergeTrial, ...]
    best: int
    minus_base: Difference

    @property
    def is_accepted(self) -> bool:
        """Whether the interval of the best one's difference lies above 0: only then the merge is a result."""
        return self.minus_base.low > 0

    @property
    def chosen(self) -> MergeTrial:
        """The best one, accepted or not."""
        return self.trials[self.best]
