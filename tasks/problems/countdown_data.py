"""Countdown's questions from data: rows with the numbers and the target, as the field's data sets hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from thickets.tasks.datafiles.columns import json_inside, kind, names, quoted, written
from thickets.tasks.datafiles.rows import raw_rows
from thickets.tasks.datafiles.source import Source

_NUMBERS = ("nums", "numbers")
_TARGET = "target"
_LEAST, _MOST = 2, 8
_LARGEST = 1_000_000
_STEPS = 500_000  # of a search: seconds
_Pair = tuple[Fraction, str]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the data.

    Attributes:
        place: Where it stands, for errors.
        id: Its id, if the config names a column of ids.
        numbers: 2 to 8 whole numbers from 1.
        target: A whole number from 0.
    """

    place: str
    id: str | None
    numbers: tuple[int, ...]
    target: int


def read_countdown(source: Source) -> list[Row]:
    """Read every row.

    Args:
        source: The location; its question and answer columns are not used.

    Raises:
        InputError: The location cannot be read, or a row has no such numbers.
    """
    rows = [_row(source, place, values) for place, values in raw_rows(source)]
    if not rows:
        raise source.error("there are no rows")
    return rows


def _row(source: Source, place: str, values: Mapping[str, Any]) -> Row:
    column = next((name for name in _NUMBERS if name in values), None)
    if column is None or _TARGET not in values:
        missing = " or ".join(map(repr, _NUMBERS)) if column is None else repr(_TARGET)
        raise source.error(f"no column {missing}; it has {quoted(names(values))}", place)
    listed = values[column]
    listed = json_inside(listed) if isinstance(listed, str) else listed
    if not isinstance(listed, (list, tuple)) or not _LEAST <= len(listed) <= _MOST:
        raise source.error(
            f"column {column!r} holds {kind(values[column])}; it must be a list of {_LEAST} to {_MOST} numbers", place
        )
    return Row(
        place,
        None if source.id_column is None else _id(source, place, values),
        tuple(_whole(source, place, column, each, 1) for each in listed),
        _whole(source, place, _TARGET, values[_TARGET], 0),
    )


def _id(source: Source, place: str, values: Mapping[str, Any]) -> str:
    value = values.get(source.id_column or "")
    if not isinstance(value, (str, int)) or value == "":
        raise source.error(f"column {source.id_column!r} holds {kind(value)}; an id is text or a number", place)
    return written(value)


def _whole(source: Source, place: str, column: str, value: Any, least: int) -> int:
    try:
        found = Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        found = Fraction(-1)
    if isinstance(value, bool) or found.denominator != 1 or not least <= found <= _LARGEST:
        raise source.error(
            f"column {column!r} holds {value!r}; it must hold whole numbers from {least} to {_LARGEST:,}", place
        )
    return int(found)


class TooHard(Exception):
    """A search has come to its limit."""


def solve(numbers: tuple[int, ...], target: int) -> str | None:
    """Return an expression of some of the numbers, each at most once, that comes to the target; None: there is none.

    A target that is one of the numbers is marked as the answer, as a number alone is not read as an expression.

    Searched in one order, so that a row has the same expression everywhere.

    Raises:
        TooHard: None is found within the steps of a search.
    """
    if target in numbers:
        return f"<answer>{target}</answer>"
    found = _Search(Fraction(target)).run([(Fraction(number), str(number)) for number in numbers])
    return None if found is None else found.removeprefix("(").removesuffix(")")


class _Search:
    def __init__(self, target: Fraction) -> None:
        self.target = target
        self._seen: set[tuple[Fraction, ...]] = set()
        self._left = _STEPS

    def run(self, left: list[_Pair]) -> str | None:
        """Join two of what is left in every way, and go on with the rest and their result."""
        state = tuple(sorted(value for value, _ in left))
        if state in self._seen:
            return None
        self._seen.add(state)
        for at, first in enumerate(left):
            for behind, second in enumerate(left[at + 1 :], at + 1):
                rest = [pair for place, pair in enumerate(left) if place not in (at, behind)]
                for joined in _joined(first, second):
                    self._left -= 1
                    if self._left < 0:
                        raise TooHard
                    if joined[0] == self.target:
                        return joined[1]
                    if rest and (found := self.run([joined, *rest])) is not None:
                        return found
        return None


def _joined(first: _Pair, second: _Pair) -> Iterator[_Pair]:
    (a, x), (b, y) = first, second
    yield a + b, f"({x} + {y})"
    yield a * b, f"({x} * {y})"
    yield (a - b, f"({x} - {y})") if a >= b else (b - a, f"({y} - {x})")
    if b:
        yield a / b, f"({x} / {y})"
    if a:
        yield b / a, f"({y} / {x})"
