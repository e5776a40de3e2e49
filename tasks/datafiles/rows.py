"""Makes examples of rows; every error names the row."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from thickets.tasks.datafiles.choices import Golds, read_choices
from thickets.tasks.datafiles.columns import NoColumn, as_json, find, json_inside, kind, text_of, value_of
from thickets.tasks.datafiles.formats import Numbered, file_rows, numbered
from thickets.tasks.datafiles.hub import hub_rows
from thickets.tasks.datafiles.images import ImageColumn
from thickets.tasks.datafiles.source import Row, Source
from thickets.tasks.datafiles.turns import chat_in, read_turns
from thickets.tasks.types import Example, Image, Message, question_id

logger = logging.getLogger(__name__)

# What an example's metadata hold of our own, whatever a column of that name holds.
_OWN = ("aliases", "turns")


def read_rows(source: Source) -> list[Row]:
    """Read every row, in order; of rows with the same question the first is kept and a warning says how many went.

    Another warning counts the rows that ``source.prepare`` leaves out.

    Raises:
        InputError: The location cannot be read, a column or a value is missing, a question is empty, or an id names two
            questions.
    """
    by_question: dict[str, Row] = {}
    by_id: dict[str, Row] = {}
    numbers: list[int] = []  # of the rows that are kept, among all
    repeated = contradicted = 0
    reader = _Reader(source)
    left_out: Counter[str] = Counter()
    for number, (place, values) in enumerate(_prepared(source, left_out)):
        row = Row(place, reader.example(place, values))
        asked = asked_of(row.example)
        if (first := by_question.get(asked)) is not None:
            repeated += 1
            contradicted += first.example.answer != row.example.answer
            continue
        if (other := by_id.get(row.example.id)) is not None:
            raise source.error(
                f"id {row.example.id!r} was already given to another question in {other.place}; ids in column "
                f"{source.id_column!r} must be unique, or leave problem.id_column empty",
                place,
            )
        by_question[asked] = by_id[row.example.id] = row
        numbers.append(number)
    went = ", ".join(f"{count} {which}" for which, count in left_out.items())
    if not by_question:
        raise source.error(f"there are no rows{went and f' but those left out: {went}'}")
    if left_out:
        total = left_out.total() + repeated + len(by_question)
        logger.warning(
            "%s %s: left out %d of %d rows: %s", source.field, source.location, left_out.total(), total, went
        )
    if repeated:
        # A question that stands twice could be drawn into two splits and leak from one into the other.
        logger.warning(
            "%s %s: dropped %d of %d rows, which repeat an earlier question (%d of them with another answer)",
            source.field,
            source.location,
            repeated,
            repeated + len(by_question),
            contradicted,
        )
    rows = list(by_question.values())
    if source.choices_column is None:
        return rows
    letters = reader.golds.letters()
    return [
        replace(row, example=replace(row.example, answer=letters[number]))
        for row, number in zip(rows, numbers, strict=True)
    ]


def asked_of(example: Example) -> str:
    """Return all that an example asks: the question, with its image and the chat turns before it if there are any."""
    if not example.turns and example.image is None:
        return example.question.strip()
    image = [] if example.image is None else [["image", example.image.sha256]]
    before = [[turn["role"], turn["content"]] for turn in example.turns]
    return json.dumps([*before, *image, example.question.strip()])


def raw_rows(source: Source) -> Iterable[Numbered]:
    """Return the rows of a source as they are, each with its place.

    Raises:
        InputError: The location cannot be read.
    """
    return numbered(hub_rows(source)) if source.location.startswith("hf:") else file_rows(source)


def _prepared(source: Source, left_out: Counter[str]) -> Iterator[Numbered]:
    """Yield the rows that are read, and count the others."""
    for place, values in raw_rows(source):
        try:
            row = values if source.prepare is None else source.prepare(place, values)
        except ValueError as error:
            raise source.error(str(error), place) from None
        if isinstance(row, str):
            left_out[row] += 1
        else:
            yield place, row


class _Reader:
    """Makes examples of one source's rows, which are all of one form."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._chat: tuple[bool, str] | None = None  # whether the first row's question is chat turns, and its place
        self.golds = Golds(source)
        self._images = None if source.image_column is None else ImageColumn(source)

    def example(self, place: str, values: Mapping[str, Any]) -> Example:
        source, metadata = self._source, self._rest(values)
        question, turns = self._question(place, values)
        answer, aliases, options = self._answer(place, values)
        if options:
            question = f"{question}\n\n{options[0]}"
            metadata["options"] = list(options[1])
        if turns is not None:
            metadata["turns"] = turns
        if aliases:
            metadata["aliases"] = aliases
        made = Example("", question, answer, metadata, self._image(place, values))
        if source.id_column is None:
            name = question_id(asked_of(made))
        else:
            name = self._text(place, values, "id_column", source.id_column)
        return replace(made, id=name)

    def _image(self, place: str, values: Mapping[str, Any]) -> Image | None:
        column = self._source.image_column
        if self._images is None or column is None:
            return None
        return self._images.read(place, value_of(self._source, place, values, "image_column", column))

    def _question(self, place: str, values: Mapping[str, Any]) -> tuple[str, list[Message] | None]:
        """Return the question, and the turns before it if the data holds chat turns."""
        source = self._source
        value = value_of(source, place, values, "question_column", source.question_column)
        chat = chat_in(value)
        if self._chat is None:
            self._chat = chat is not None, place
        elif self._chat[0] != (chat is not None):
            forms = ("text", "chat turns")
            raise source.error(
                f"column {source.question_column!r} holds {forms[chat is not None]}, and {forms[self._chat[0]]} in "
                f"{self._chat[1]}; all rows must have one form",
                place,
            )
        if chat is None:
            return text_of(source, place, value, "question_column", source.question_column), None
        *before, last = read_turns(source, place, chat)
        return last["content"].strip(), before

    def _answer(
        self, place: str, values: Mapping[str, Any]
    ) -> tuple[str, list[str], tuple[str, tuple[str, ...]] | None]:
        """Return the gold answer, the other accepted ones, and the options as lines and as texts if there are any."""
        source, column = self._source, self._source.answer_column
        value = value_of(source, place, values, "answer_column", column)
        if source.choices_column is not None:
            given = value_of(source, place, values, "choices_column", source.choices_column)
            choices = read_choices(source, place, given)
            answer = text_of(source, place, value, "answer_column", column)
            self.golds.add(place, choices, answer)
            return answer, [], (choices.lines(), choices.texts)
        accepted = list(value) if isinstance(value, (list, tuple)) else [value]
        if not accepted:
            raise source.error(f"column {column!r} is an empty list", place)
        several = len(accepted) > 1 or isinstance(value, (list, tuple))
        answer, *aliases = (
            text_of(source, place, each, "answer_column", f"{column}[{number}]" if several else column)
            for number, each in enumerate(accepted)
        )
        aliases += self._aliases(place, values)
        return answer, [alias for alias in dict.fromkeys(aliases) if alias != answer], None

    def _aliases(self, place: str, values: Mapping[str, Any]) -> list[str]:
        source, column = self._source, self._source.aliases_column
        if column is None:
            return []
        try:
            value = find(values, column)
        except NoColumn:
            value_of(source, place, values, "answer_aliases_column", column)  # raises, and says what there is
        if value is None or value == "":
            return []
        listed = json_inside(value) if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            raise source.error(
                f'column {column!r} holds {kind(value)}; other accepted answers are a list, such as ["4", "four"]',
                place,
            )
        return [
            text_of(source, place, each, "answer_aliases_column", f"{column}[{number}]")
            for number, each in enumerate(listed)
        ]

    def _text(self, place: str, values: Mapping[str, Any], field: str, column: str) -> str:
        value = value_of(self._source, place, values, field, column)
        return text_of(self._source, place, value, field, column)

    def _rest(self, values: Mapping[str, Any]) -> dict[str, Any]:
        source = self._source
        if not source.keep_columns:
            return {}
        used = {*source.columns, source.aliases_column, *_OWN}
        return {key: as_json(value) for key, value in values.items() if key not in used}
