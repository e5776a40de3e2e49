"""Where rows lie, what their columns are called, and errors that say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.types import Example


@dataclass(frozen=True)
class Source:
    """The location of rows and the names of their columns.

    A name may lead into a nested column: ``reward_model.ground_truth``, ``answers[0]``, ``messages[:-1]``.

    Attributes:
        field: The config field that names the location, for errors.
        location: A file of one of ``FORMATS``, ``hf:owner/dataset[:config][@split]``, or ``hf:`` and a local folder.
        default_split: Split of an ``hf:`` location that names none.
        id_column: Column with ids, or ``None`` to make them from the questions.
        question_column: Column with questions: text, or chat turns.
        answer_column: Column with gold answers.
        keep_columns: Whether the other columns go into ``Example.metadata``.
        aliases_column: Column with lists of further accepted answers, or ``None``.
        choices_column: Column with the options to choose from, or ``None``.
        prepare: What a problem makes of a row, given its place and its columns, before it is read: the columns to read,
            or text that says which rows are left out ("with an image"), for a line that counts them. A ValueError says
            what is wrong with the row.
        image_column: Column with the image that a question is about, or ``None``.
    """

    field: str
    location: str
    default_split: str
    id_column: str | None
    question_column: str
    answer_column: str
    keep_columns: bool = False
    aliases_column: str | None = None
    choices_column: str | None = None
    prepare: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | str] | None = None
    image_column: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that every row must have."""
        named = (
            *(self.question_column, self.answer_column, self.id_column),
            *(self.choices_column, self.image_column),
        )
        return tuple(name for name in named if name is not None)

    def error(self, problem: str, place: str = "") -> InputError:
        """Return an error about this source that names its field, its location and the row."""
        return InputError(f"{self.field} is {self.location!r}{place and ', '}{place}: {problem}")


@dataclass(frozen=True)
class Row:
    """An example and its place in the data (``"line 3"``, ``"row 3"``; from 1, a header not counted)."""

    place: str
    example: Example
