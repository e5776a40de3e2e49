"""Results of a training by GRPO, as values. Models only: reading a stored result must not wait for PyTorch."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import Cost
from thickets.tasks.results.intervals import Accuracy


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Look(_Result):
    """The weights of one step on the validation split.

    Attributes:
        step: Optimizer steps; 0 is the base, whose answers the search has.
        validation: Its accuracy.
        own: What this look has cost; that at the base was the search's.
        cost: All that was spent until then, this look included.
    """

    step: int
    validation: Accuracy
    own: Cost
    cost: Cost


class Line(_Result):
    """What is known of a step.

    Attributes:
        step: Optimizer steps so far.
        values: What TRL logs: reward, loss, lengths, entropy and others, and the cost so far.
    """

    step: int
    values: dict[str, float]


class GrpoTraining(_Result):
    """How a model was trained by GRPO.

    Attributes:
        n_steps: Optimizer steps taken.
        best_step: The step whose weights were kept: the first of the best on the validation split; 0 is the base.
        looks: Validation on the way, step 0 first.
        lines: Of every step.
        ended: Why it ended, as a clause.
        cost: All that was spent.
    """

    n_steps: int
    best_step: int
    looks: tuple[Look, ...]
    lines: tuple[Line, ...]
    ended: str
    cost: Cost


def best_of(looks: tuple[Look, ...]) -> Look:
    """Return the first of the best."""
    return max(looks, key=lambda look: (look.validation.total, -look.step))


def n_without_gain(looks: tuple[Look, ...]) -> int:
    """Count the looks since the best."""
    return len(looks) - 1 - looks.index(best_of(looks))


def line_of(entry: dict[str, Any]) -> Line:
    """Return what an entry of TRL's log says; its epoch means nothing, where the questions' order is one long one."""
    values = {
        name: float(value) for name, value in entry.items() if name not in ("step", "epoch") and value is not None
    }
    return Line(step=entry["step"], values=values)
