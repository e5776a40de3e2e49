"""The result of several rounds as one value: kept as rounds.json, shown at the end."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import Cost
from thickets.tasks.results.intervals import Accuracy, Difference
from thickets.tasks.results.merging import MergeChoice


class Round(BaseModel):
    """One search around the model of the round before.

    Attributes:
        number: From 1.
        run_id: Of its run.
        model: What it searched around.
        base: That model, on the test split.
        ensemble: The vote of its experts, on the test split.
        merge: The merge that the round made, on the test split; None where none stood.
        validation: What merges did on the validation split, which decides whether there is another round; None where
            none could be made.
        student: The student that the round made, on the test split; None where none stood.
        student_over_base: What the student did on the validation split, which decides; None where none was trained.
        n_tokens: Tokens generated in the whole round.
        wall_s: Seconds of the call that finished the round, training and engine starts included; in files of earlier
            versions those of its last session.
        get: What the model took that it made, in this round alone; None where none stood, and in files of versions that
            did not count it.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    run_id: str
    model: str
    base: Accuracy
    ensemble: Accuracy
    merge: Accuracy | None
    validation: MergeChoice | None
    student: Accuracy | None = None
    student_over_base: Difference | None = None
    n_tokens: int
    wall_s: float
    get: Cost | None = None

    def made(self, by: Literal["merge", "distill"]) -> Accuracy | None:
        """Return the model that the round made, on the test split; None where none stood."""
        return self.merge if by == "merge" else self.student

    def over_base(self, by: Literal["merge", "distill"]) -> Difference | None:
        """Return the difference on the validation split that decided; None where nothing could be made."""
        if by == "distill":
            return self.student_over_base
        return self.validation.minus_base if self.validation else None


class Rounds(BaseModel):
    """All rounds of a call.

    Attributes:
        group_id: Names the folder of the result, and its run in MLflow.
        by: How the rounds made their models.
        rounds: In order; the last one may have made no model.
        last_minus_first: On the test split: the last model that stood less the first base; None where none stood.
        last_minus_ensemble: On the test split: the last model that stood less the vote of the experts of its own round;
            None where none stood, and in files of earlier versions.
        ended: Why there was no further round.
    """

    model_config = ConfigDict(frozen=True)

    group_id: str
    by: Literal["merge", "distill"] = "merge"
    rounds: tuple[Round, ...]
    last_minus_first: Difference | None
    last_minus_ensemble: Difference | None = None
    ended: str

    def cost_to_get(self, number: int) -> Cost | None:
        """Return what the model of a round took, the rounds before it included; None where it is not known."""
        found = [each.get for each in self.rounds if each.number <= number]
        costs = [cost for cost in found if cost is not None]
        return sum(costs, Cost()) if len(costs) == len(found) else None

    @property
    def last_made(self) -> Round | None:
        """The last round that made a model."""
        return next((each for each in reversed(self.rounds) if each.made(self.by) is not None), None)

    @property
    def noun(self) -> str:
        """What a round makes."""
        return "merge" if self.by == "merge" else "student"

    @property
    def tokens_so_far(self) -> tuple[int, ...]:
        """Tokens up to the end of each round."""
        return tuple(sum(each.n_tokens for each in self.rounds[: place + 1]) for place in range(len(self.rounds)))
