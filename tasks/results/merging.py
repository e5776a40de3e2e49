"""What a run found out about merges."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.intervals import Accuracy, Difference

Gate: TypeAlias = Literal["interval", "better"]
PASSED: dict[Gate, str] = {"interval": "clearly above its base", "better": "above its base"}


class MergeTrial(BaseModel):
    """One merge on the validation split.

    Attributes:
        id: Of the model, as its scores are kept.
        label: What people call it.
        direction: How its candidates count.
        k: Candidates that its direction takes; a coordinate search may leave some out.
        radius: Its distance from the base, in distances of one candidate.
        is_tuned: Whether a coordinate search has changed its coefficients.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    label: str
    direction: str = ""
    k: int
    radius: float
    accuracy: Accuracy
    is_tuned: bool = False


class CoordinateSearch(BaseModel):
    """What a coordinate search made of the coefficients of a merge, on the selection split.

    Attributes:
        label: Of the merge that it began with.
        n_blocks: Blocks of candidates whose coefficients were changed together.
        n_moves: Steps that changed a block.
        before: The first merge's score on the selection split, whose questions have chosen its candidates as well.
        after: That of the merge it ended with, which flatters it more.
        ids: Of every merge that answered the selection split.
    """

    model_config = ConfigDict(frozen=True)

    label: str
    n_blocks: int
    n_moves: int
    before: Accuracy
    after: Accuracy
    ids: tuple[str, ...]


class MergeChoice(BaseModel):
    """The merges of a run on its validation split, and whether one of them stands.

    Attributes:
        trials: All that were tried, in the order in which they were planned.
        best: Index of the one with the best score; of equally good ones the first.
        minus_base: Its score less the base's, on the validation split.
        search: The coordinate search; None without one.
        gate: What the best one has to pass.
    """

    model_config = ConfigDict(frozen=True)

    trials: tuple[MergeTrial, ...]
    best: int
    minus_base: Difference
    search: CoordinateSearch | None = None
    gate: Gate = "interval"

    @property
    def is_accepted(self) -> bool:
        """Whether the best one stands: its difference lies above 0, with gate ``interval`` all of its interval."""
        return (self.minus_base.low if self.gate == "interval" else self.minus_base.value) > 0

    @property
    def chosen(self) -> MergeTrial:
        """The best one, accepted or not."""
        return self.trials[self.best]
