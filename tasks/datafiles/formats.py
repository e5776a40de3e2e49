"""The rows of a file, as its format has them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.datafiles.columns import quoted
from thickets.tasks.datafiles.source import Source
from thickets.tasks.datafiles.text import PACKED, as_text, read_bytes

FORMATS = (".jsonl", ".csv", ".tsv", ".json", ".parquet")
_MOST_COLUMNS = 10_000
_MOST_ROWS = 20_000_000
"""Of a Parquet file, in which a few kilobytes can hold more rows than a machine has memory for."""
_MOST_CHARACTERS = 2**31 - 1  # of a field
_SEPARATORS = {".csv": (",", ";", "\t"), ".tsv": ("\t", ",", ";")}

Numbered = tuple[str, Mapping[str, Any]]


def file_rows(source: Source) -> Iterable[Numbered]:
    """Return the rows of a file, each with its place.

    Raises:
        InputError: There is no such file, or it is not what its name says; some of it when the rows are read.
    """
    path = Path(os.path.expanduser(source.location))  # Path's own raises where there is no such user
    kind, packing = _kind(path)
    if kind not in FORMATS:
        raise source.error(
            f"unknown kind of file {kind!r}; allowed are {', '.join(FORMATS)}, each also with {' or '.join(PACKED)} "
            "behind it, and hf:owner/dataset[:config][@split]"
        )
    if not os.path.isfile(path):  # Path's own raises for a name that is too long
        raise source.error("it is a folder; name a file in it" if os.path.isdir(path) else "there is no such file")
    data = read_bytes(source, path, packing)
    match kind:
        case ".parquet":
            return _parquet(source, data)
        case ".jsonl":
            return _jsonl(source, as_text(source, data))
        case ".json":
            return _json(source, as_text(source, data))
        case _:
            return _table(source, as_text(source, data), _SEPARATORS[kind])


def numbered(rows: Iterable[Mapping[str, Any]]) -> Iterator[Numbered]:
    """Give rows their places, from 1."""
    for number, values in enumerate(rows, start=1):
        yield f"row {number}", values


def _kind(path: Path) -> tuple[str, str]:
    """Return the ending that names the format, and the one that names the packing if there is one."""
    suffix = path.suffix.lower()
    return (path.with_suffix("").suffix.lower(), suffix) if suffix in PACKED else (suffix, "")


def _jsonl(source: Source, text: str) -> Iterator[Numbered]:
    # Split at \n alone: a JSON string may hold U+2028, which str.splitlines takes for the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        place = f"line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            whole = "; a file that is one array is a .json file" if text.lstrip().startswith("[") else ""
            raise source.error(f"not JSON ({error.msg} at column {error.colno}){whole}", place) from None
        except (ValueError, RecursionError) as error:
            # A number of thousands of digits, or thousands of brackets.
            raise source.error(f"not usable JSON ({error})", place) from None
        yield place, _object(source, values, "line", place)


def _json(source: Source, text: str) -> Iterator[Numbered]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and text.lstrip().startswith("{"):
            # Several objects one after the other: many a .json file is JSON lines.
            yield from _jsonl(source, text)
            return
        raise source.error(f"not JSON ({error.msg} at column {error.colno})", f"line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise source.error(f"not usable JSON ({error})") from None
    for place, values in numbered(_array(source, value)):
        yield place, _object(source, values, "row", place)


def _object(source: Source, values: Any, unit: str, place: str) -> dict[str, Any]:
    """Return a row, which is an object."""
    if not isinstance(values, dict):
        raise source.error(
            f"it holds a {type(values).__name__}; every {unit} must be an object such as {_sample(source)}", place
        )
    return values


def _array(source: Source, value: Any) -> list[Any]:
    """Return the array of rows: the whole file, or the one array of objects in the object that is the file."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise source.error(f"it holds a {type(value).__name__}; it must be an array of objects")
    arrays = [
        name for name, rows in value.items() if isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
    ]
    if len(arrays) != 1:
        found = (
            f"{len(arrays)} arrays of rows, {quoted(arrays)}" if arrays else f"no array of rows among {quoted(value)}"
        )
        raise source.error(f"it is an object with {found}; it must be an array of objects, or an object with one such")
    return list(value[arrays[0]])


def _sample(source: Source) -> str:
    return f'{{"{source.question_column}": "...", "{source.answer_column}": "..."}}'


def _table(source: Source, text: str, separators: tuple[str, ...]) -> Iterator[Numbered]:
    # All is text: a column of numbers keeps its zeros (007) and its decimals (1.50) as they are written.
    first, _, rest = text.partition("\n")
    if first.startswith("sep=") and len(first.rstrip("\r")) == 5:  # Excel's own line about the separator
        separator, text = first[4], rest
    else:
        separator = _separator(source, text, separators)
    header: list[str] | None = None
    for number, fields in _records(source, text, separator):
        if header is None:
            header = _header(source, fields)
            continue
        if len(fields) > len(header) and any(fields[len(header) :]):
            raise source.error(
                f"it has {len(fields)} fields, the header has {len(header)}; a text with {separator!r} in it must "
                "stand in double quotes",
                f"row {number}",
            )
        cells: list[str | None] = [field or None for field in fields[: len(header)]]
        yield f"row {number}", dict(zip(header, cells + [None] * (len(header) - len(cells)), strict=True))


def _records(source: Source, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Return the records that are not blank, the header as number 0."""
    before = csv.field_size_limit(_MOST_CHARACTERS)
    number = 0
    try:
        for fields in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True):
            if fields:
                yield number, fields
                number += 1
    except csv.Error as error:
        place = f"row {number}" if number else "the header"
        raise source.error(
            f"its double quotes are not in order ({error}); a field with a quote in it is written "
            f'"such as ""this"" one"',
            place,
        ) from None
    finally:
        csv.field_size_limit(before)


def _header(source: Source, fields: list[str]) -> list[str]:
    names = [field.strip() for field in fields]
    if len(names) > _MOST_COLUMNS:
        raise source.error(f"its header has {len(names):,} columns; {_MOST_COLUMNS:,} are the most")
    repeated = [name for name in names if name and names.count(name) > 1 and name in source.columns]
    if repeated:
        raise source.error(f"its header has column {repeated[0]!r} {names.count(repeated[0])} times; rename one")
    return names


def _separator(source: Source, text: str, separators: tuple[str, ...]) -> str:
    """Tell the separator by the header: the one that gives the columns wanted, else the first that separates at all."""
    headers = {}
    for separator in separators:
        try:
            _, fields = next(_records(source, text, separator), (0, []))
        except InputError:  # quotes that end before another separator
            continue
        headers[separator] = [field.strip() for field in fields]
    wanted = {source.question_column, source.answer_column}
    for separator, names in headers.items():
        if wanted <= set(names):
            return separator
    return next((separator for separator, names in headers.items() if len(names) > 1), separators[0])


def _parquet(source: Source, data: bytes) -> Iterator[Numbered]:
    import polars

    try:
        frame = polars.scan_parquet(io.BytesIO(data))
        columns, rows = len(frame.collect_schema()), frame.select(polars.len()).collect().item()
        if columns > _MOST_COLUMNS or rows > _MOST_ROWS:
            raise source.error(
                f"it has {columns:,} columns and {rows:,} rows; {_MOST_COLUMNS:,} and {_MOST_ROWS:,} are the most"
            )
        table = polars.read_parquet(io.BytesIO(data))
    except (polars.exceptions.PolarsError, OSError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise source.error(f"not a readable .parquet file ({first_line})") from error
    yield from numbered(table.iter_rows(named=True))
