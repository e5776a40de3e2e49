"""Worked examples, which a prompt shows before its question."""

from __future__ import annotations

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Source, read_rows
from thickets.tasks.problems.fields import WorkedExample

_MANY = 32
"""Worked examples that nobody puts before every question without meaning to."""


def read_worked(source: Source, n_shown: int | None) -> tuple[WorkedExample, ...]:
    """Read the first rows of a file as worked examples; a system turn of theirs is left out.

    Args:
        source: The file and its columns.
        n_shown: How many; None: all.

    Raises:
        InputError: The file cannot be read, a row has several turns, or there are too few rows, or far too many.
    """
    rows = read_rows(source)
    for row in rows[:n_shown]:
        if any(turn["role"] != "system" for turn in row.example.turns):
            raise source.error("a worked example has one question and its answer, not several turns", row.place)
    if n_shown is None and len(rows) > _MANY:
        raise source.error(f"it has {len(rows):,} rows; set problem.n_examples to how many are shown")
    every = tuple(WorkedExample(question=row.example.question, answer=row.example.answer) for row in rows[:n_shown])
    return first_worked(every, n_shown, repr(source.location))


def first_worked(every: tuple[WorkedExample, ...], n_shown: int | None, where: str) -> tuple[WorkedExample, ...]:
    """Return the first worked examples.

    Args:
        every: All of them.
        n_shown: How many; None: all.
        where: What they stand in, for errors.

    Raises:
        InputError: There are fewer.
    """
    if n_shown is not None and n_shown > len(every):
        raise InputError(
            f"problem.n_examples is {n_shown}, but {where} of problem.examples has {len(every)}; ask for fewer"
        )
    return every[:n_shown]
