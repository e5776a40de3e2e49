"""Finds a row's value by the name of its column, nested ones by a path, and reads it as text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from typing import Any

from thickets.tasks.datafiles.source import Source

_EXACT_FLOAT = 2**53
_SCALARS = (str, bool, int, float, Decimal, date, datetime, time)
_INDEX = re.compile(r"\[(?:(?P<at>-?\d{1,9})|(?P<start>-?\d{1,9})?:(?P<stop>-?\d{1,9})?)\]\.?")
_MOST_NAMES = 20  # in a message
_DEPTH = 4  # of the nested columns in a message
_MOST_LISTED = 100_000  # of all columns, nested ones among them, that a message chooses from
# What the columns of public data sets are called, for a hint.
_USUAL = {
    "question_column": ("question", "prompt", "problem", "query", "instruction", "input", "messages"),
    "answer_column": ("answer", "ground_truth", "solution", "final_answer", "target", "label", "gold", "output"),
}


class NoColumn(Exception):
    """A name leads nowhere; its text says where it stops."""


def find(values: Any, name: str) -> Any:
    """Return the value of a column.

    A literal name comes before a path with the same letters, so ``a.b`` may be a column; of several literal beginnings
    the longest counts. Text that holds a JSON object or array can be entered too, as a .csv file nests columns.

    Args:
        values: A row, or a value in it.
        name: ``question``, ``reward_model.ground_truth``, ``answers[0]``, ``messages[-1].content``, ``messages[:-1]``.

    Raises:
        NoColumn: There is none.
    """
    if not name:
        return values
    if isinstance(values, str) and (inside := json_inside(values)) is not None:
        values = inside
    if isinstance(values, Mapping):
        for cut in (len(name), *(i for i in range(len(name) - 1, 0, -1) if name[i] in ".[")):
            if name[:cut] in values:
                return _into(values[name[:cut]], name[:cut], name[cut:].removeprefix("."))
        raise NoColumn(f"no {re.split(r'[.[]', name)[0]!r} there")
    if isinstance(values, (list, tuple)):
        return _item(list(values), name)
    raise NoColumn(f"{kind(values)} has no columns of its own")


def _into(value: Any, name: str, rest: str) -> Any:
    if not rest:
        return value
    try:
        return find(value, rest)
    except NoColumn as error:
        raise NoColumn(f"in {name!r}: {error}") from None


def _item(values: list[Any], name: str) -> Any:
    index = _INDEX.match(name)
    if index is None:
        raise NoColumn(f"a list of {len(values)}; [0] is its first item, [-1] its last")
    rest = name[index.end() :]
    if index["at"] is None:
        if rest:
            raise NoColumn(f"{index[0]!r} gives a list; [0] is its first item, [-1] its last")
        start, stop = (int(bound) if bound else None for bound in (index["start"], index["stop"]))
        return values[start:stop]
    at = int(index["at"])
    if not -len(values) <= at < len(values):
        raise NoColumn(f"a list of {len(values)}, without item {at}")
    return _into(values[at], index[0], rest)


def json_inside(text: str) -> Any:
    """Return the object or array that a text is, or None if it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def names(values: Mapping[str, Any]) -> list[str]:
    """Return the names of a row's columns, with those of nested ones."""
    every = (name for key, value in values.items() for name in _names(str(key), value, _DEPTH))
    return list(islice(every, _MOST_LISTED))


def _names(name: str, value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, Mapping) and value and depth:
        for key, inner in value.items():
            yield from _names(f"{name}.{key}", inner, depth - 1)
        return
    yield name
    if isinstance(value, list) and value and depth and not _is_turn(value[0]):
        yield from _names(f"{name}[0]", value[0], depth - 1)


def _is_turn(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value


def quoted(found: Iterable[str]) -> str:
    """Return names for a message: the first few."""
    found = list(found)
    shown = ", ".join(repr(name[:80]) for name in found[:_MOST_NAMES]) or "none"
    return shown + (f" and {len(found) - _MOST_NAMES:,} more" if len(found) > _MOST_NAMES else "")


def value_of(source: Source, place: str, values: Mapping[str, Any], field: str, column: str) -> Any:
    """Return the value of a column that must not be empty.

    Args:
        source: For errors.
        place: Of the row.
        values: The row.
        field: The setting that names the column, without ``problem.``.
        column: Its name.

    Raises:
        InputError: There is no such column in the row, or it is null.
    """
    try:
        value = find(values, column)
    except NoColumn as error:
        found = names(values)
        why = "" if re.fullmatch(r"[^.[]+", column) else f" ({error})"
        raise source.error(
            f"no column {column!r}{why}; it has {quoted(found)}: set problem.{field} to one{_hint(field, found)}", place
        ) from None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise source.error(f"column {column!r} is empty (null)", place)
    return value


def _hint(field: str, found: list[str]) -> str:
    near = _usual(field, found)
    return f", such as {near[0]}" if near else ""


def _usual(field: str, found: list[str]) -> list[str]:
    """Return the names that end as such columns usually do."""
    return [name for word in _USUAL.get(field, ()) for name in found if re.split(r"[.\]]", name)[-1] == word]


def text_of(source: Source, place: str, value: Any, field: str, column: str) -> str:
    """Read a value as text: a number as a person would write it.

    Raises:
        InputError: It is empty, or neither text nor a number; the message says which columns inside it are.
    """
    if not isinstance(value, _SCALARS):
        inside = [name for name in names({column: value}) if name != column]
        which = f"; name one inside it: problem.{field}: {(_usual(field, inside) or inside)[0]}" if inside else ""
        raise source.error(f"column {column!r} holds {kind(value)}; it must be text or a number{which}", place)
    text = written(value)
    if not text:
        raise source.error(f"column {column!r} is empty", place)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise source.error(f"column {column!r} is not text (half of a surrogate pair)", place)
    return text


def written(value: Any) -> str:
    """Write a scalar as a person would, without white space around it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        return str(int(value))  # whole numbers come as 42.0 from a column that has gaps
    return str(value).strip()


def kind(value: Any) -> str:
    """Say what a value is, for a message."""
    if isinstance(value, Mapping):
        return f"an object with {quoted(map(str, value))}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if value is None:
        return "null"
    return f"the text {value[:60]!r}" if isinstance(value, str) else f"a {type(value).__name__}"


def as_json(value: Any) -> Any:
    """Convert a value to JSON's types; one that JSON has no form for (dates, decimals, bytes) becomes text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
