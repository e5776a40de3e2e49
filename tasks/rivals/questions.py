"""Which questions a rival learns from."""

from __future__ import annotations

from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.splits import Split, Splits, content_sha256, draw_training


def draw_learned(problem: Problem, splits: Splits, size: int | None, seed: int) -> Split:
    """Return the selection split, lengthened by questions that are in none of the three splits.

    Args:
        problem: The run's problem.
        splits: Its three splits.
        size: How many there are to be; None: the selection split.
        seed: Key of the draw; a smaller size gives the beginning of a larger one.

    Raises:
        InputError: Data is short; the message says by how many rows.
    """
    own = splits.selection
    if size is None or size <= len(own.examples):
        return own
    field = "rivals.questions, beyond data.selection,"
    more = draw_training(problem, splits, size - len(own.examples), seed, field)
    examples = own.examples + more.examples
    return Split(own.name, examples, content_sha256(examples))
