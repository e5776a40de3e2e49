"""The result of several rounds as one value: kept as rounds.json, shown at the end."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import Cost
from thickets.tasks.results.evaluation import Accuracy, Difference
from thickets.tasks.results.merging import MergeChoice


class Round(BaseModel):
    """One search around the model of the round before.

    Attributes:
        number: From 1.
        run_id: Of its run.
        model: What it searched around.
        base: That model, on the test split.
        ensemble: The vote of its experts, on the test split.
        merge: The model that the round made, on the test split; None where no merge stood.
        validation: What merges did on the validation split, which decides whether there is another round; None where
            none could be made.
        n_tokens: Tokens of the whole round.
        wall_s: Seconds of its last session.
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
    n_tokens: int
    wall_s: float
    get: Cost | None = None


class Rounds(BaseModel):
    """All rounds of a call.

    Attributes:
        group_id: Names the folder of the result, and its run in MLflow.
        rounds: In order; the last one may have made no model.
        last_minus_first: On the test split: the last merge that stood less the first base; None where none stood.
        ended: Why there was no further round.
    """

    model_config = ConfigDict(frozen=True)

    group_id: str
    rounds: tuple[Round, ...]
    last_minus_first: Difference | None
    ended: str

    def cost_to_get(self, number: int) -> Cost | None:
        """Return what the model of a round took, the rounds before it included; None where it is not known."""
        found = [each.get for each in self.rounds if each.number <= number]
        costs = [cost for cost in found if cost is not None]
        return sum(costs, Cost()) if len(costs) == len(found) else None

    @property
    def last_made(self) -> Round | None:
        """The last round that made a model."""
        return next((each for each in reversed(self.rounds) if each.merge is not None), None)
