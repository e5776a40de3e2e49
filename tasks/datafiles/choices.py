"""Reads the options of a multiple-choice question, and which of them the data calls right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from thickets.tasks.datafiles.columns import json_inside, kind, written
from thickets.tasks.datafiles.source import Source

_NUMBER = "number counted from 0"
_LABELS, _TEXTS = ("label", "labels", "key", "letter"), ("text", "texts", "value", "content")


@dataclass(frozen=True)
class Choices:
    """The options of a question.

    Attributes:
        texts: Their texts, A first.
        labels: What the data calls them; empty where it only lists texts.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()

    def lines(self) -> str:
        """Return the options as a question shows them: a line each, by letters."""
        return "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, self.texts, strict=False))


def read_choices(source: Source, place: str, value: Any) -> Choices:
    """Read options: a list of texts; objects with a label and a text; or an object of labels, or of two lists.

    Raises:
        InputError: It is none of these, or has fewer than 2 options or more than 26.
    """
    column = source.choices_column
    labels, texts = _parts(json_inside(value) if isinstance(value, str) else value)
    if (
        not texts
        or len(labels) not in (0, len(texts))
        or not all(isinstance(text, (str, int, float)) for text in texts)
    ):
        raise source.error(
            f"column {column!r} holds {kind(value)}; options are a list of texts, a list of objects with a label and a "
            'text, an object such as {"A": "..."}, or {"label": [...], "text": [...]}',
            place,
        )
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise source.error(f"column {column!r} has {len(texts)} options; allowed are 2 to 26", place)
    shown = tuple(_without_letters([written(text) for text in texts]))
    if "" in shown:
        raise source.error(f"option {ascii_uppercase[shown.index('')]} in column {column!r} is empty", place)
    named = tuple(written(label) for label in labels)
    if len(set(named)) < len(named):
        raise source.error(f"column {column!r} calls two options the same: {', '.join(named)}", place)
    return Choices(shown, named)


def _parts(value: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return labels and texts; no texts where it cannot be told."""
    if isinstance(value, Mapping):
        labels, texts = (next((value[name] for name in known if name in value), None) for known in (_LABELS, _TEXTS))
        if isinstance(texts, (list, tuple)):
            return labels if isinstance(labels, (list, tuple)) else [], texts
        # A Parquet file gives every row the letters of the row that has most of them.
        pairs = [(key, text) for key, text in value.items() if text is not None]
        return [key for key, _ in pairs], [text for _, text in pairs]
    if not isinstance(value, (list, tuple)):
        return [], []
    if all(isinstance(option, Mapping) for option in value):
        parts = [_parts_of_one(option) for option in value]
        return ([], []) if None in parts else ([part[0] for part in parts if part], [part[1] for part in parts if part])
    return [], value


def _parts_of_one(option: Mapping[str, Any]) -> tuple[Any, Any] | None:
    label, text = (next((option[name] for name in known if name in option), None) for known in (_LABELS, _TEXTS))
    return None if label is None or text is None else (label, text)


def _without_letters(texts: list[str]) -> list[str]:
    """Remove the letters that the texts begin with, "A) 21" for instance, if each begins with its own."""
    found = [re.match(rf"\(?{letter}[).:]\s*", text) for letter, text in zip(ascii_uppercase, texts, strict=False)]
    return [text[match.end() :] for text, match in zip(texts, found, strict=True) if match] if all(found) else texts


class Golds:
    """Tells which options the answers of a source mean.

    An answer may be a label of the data's own, a letter, a number counted from 0, or the text of an option. One answer
    may be read in several of these ways (1 among 2, 1 and 7), so the way is found from all rows: it must give every row
    one option, and if several ways do, they must agree.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read: list[tuple[str, dict[str, int]]] = []  # place, and option by way
        self._ways: set[str] = set()

    def add(self, place: str, choices: Choices, answer: str) -> None:
        """Take in a row.

        Raises:
            InputError: The answer means none of the options, or not in the way in which those before do.
        """
        ways = _ways(choices, answer)
        left = self._ways & ways.keys() if self._read else set(ways)
        if not left:
            column, last = self._source.answer_column, ascii_uppercase[len(choices.texts) - 1]
            known = (
                f"one of {', '.join(choices.labels)}"
                if choices.labels
                else f"a letter from A to {last}, a number from 0"
            )
            before = f", as in the rows before it by {' or '.join(sorted(self._ways))}" if self._read else ""
            raise self._source.error(
                f"column {column!r} holds {answer[:60]!r}, which is none of the {len(choices.texts)} options in column "
                f"{self._source.choices_column!r}{before}; allowed are {known}, or the text of an option, and one kind "
                "in all rows",
                place,
            )
        self._ways = left
        self._read.append((place, ways))

    def letters(self) -> list[str]:
        """Return the right option of every row that was taken in, as a letter.

        Raises:
            InputError: The answers can be read in two ways that differ, or as numbers that may be counted from 1.
        """
        column = self._source.answer_column
        for place, ways in self._read:
            if len({ways[way] for way in self._ways}) > 1:
                each = " and ".join(f"{ascii_uppercase[ways[way]]} by {way}" for way in sorted(self._ways))
                raise self._source.error(
                    f"column {column!r} holds an answer that is option {each}, and so may be every other row's; name "
                    "a column with letters that are not texts",
                    place,
                )
        if self._ways == {_NUMBER} and all(ways[_NUMBER] for _, ways in self._read):
            raise self._source.error(
                f"column {column!r} holds numbers of options and never a 0, so they may be counted from 1; name a "
                "column with letters or texts"
            )
        return [ascii_uppercase[next(ways[way] for way in self._ways)] for _, ways in self._read]


def _ways(choices: Choices, answer: str) -> dict[str, int]:
    """Return the option that an answer means, by the way of reading it; a way that gives not one is left out."""
    ways = {}
    same = [index for index, option in enumerate(choices.texts) if _folded(option) == _folded(answer)]
    if len(same) == 1:
        ways["text"] = same[0]
    if choices.labels:
        if answer in choices.labels:
            ways["label"] = choices.labels.index(answer)
        return ways
    if (letter := re.fullmatch(r"\(?([A-Z])[).:]?", answer)) and letter[1] in ascii_uppercase[: len(choices.texts)]:
        ways["letter"] = ascii_uppercase.index(letter[1])
    if re.fullmatch(r"[0-9]{1,2}", answer) and int(answer) < len(choices.texts):
        ways[_NUMBER] = int(answer)
    return ways


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
