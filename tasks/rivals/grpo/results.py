"""Results of a training by GRPO, as values. Models only: reading a stored result must not wait for PyTorch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import Cost


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Look(_Result):
    """The weights of one step on the validation split.

    Attributes:
        step: Optimizer steps; 0 is the base, whose answers the search has.
        n_correct: Right answers.
        n: Questions.
        points: Sum of the scores in thousandths.
        own: What this look has cost; that at the base was the search's.
        cost: All that was spent until then, this look included.
    """

    step: int
    n_correct: int
    n: int
    points: int
    own: Cost
    cost: Cost


class GrpoTraining(_Result):
    """How a model was trained by GRPO.

    Attributes:
        n_steps: Optimizer steps taken.
        best_step: The step whose weights were kept: the first of the best on the validation split; 0 is the base.
        looks: Validation on the way, step 0 first.
        lines: What TRL has logged after each step: reward, loss, lengths, entropy and others, and the cost so far.
        ended: Why it ended, as a clause.
        cost: All that was spent.
    """

    n_steps: int
    best_step: int
    looks: tuple[Look, ...]
    lines: tuple[dict[str, float], ...]
    ended: str
    cost: Cost


def best_of(looks: tuple[Look, ...]) -> Look:
    """Return the first of the best."""
    return max(looks, key=lambda look: (look.points, -look.step))


def n_without_gain(looks: tuple[Look, ...]) -> int:
    """Count the looks since the best."""
    return len(looks) - 1 - looks.index(best_of(looks))
