"""Reads questions and answers from .jsonl, .csv, .parquet and Hugging Face data sets; errors name the row."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import question_id
from thickets.tasks.types import Example

logger = logging.getLogger(__name__)

FORMATS = (".jsonl", ".csv", ".parquet")
_HF = re.compile(r"hf:(?P<id>[^:@]+)(?::(?P<config>[^:@]+))?(?:@(?P<split>[^:@]+))?")
_EXACT_FLOAT = 2**53
_SCALARS = (str, bool, int, float, Decimal, date, datetime, time)


@dataclass(frozen=True)
class Source:
    """The location of rows and the names of their columns.

    Attributes:
        field: The config field that names the location, for errors.
        location: A file of one of ``FORMATS``, ``hf:owner/dataset[:config][@split]``, or ``hf:`` and a local folder.
        default_split: Split of an ``hf:`` location that names none.
        id_column: Column with ids, or ``None`` to make them from the questions.
        question_column: Column with questions.
        answer_column: Column with gold answers.
        keep_columns: Whether the other columns go into ``Example.metadata``.
    """

    field: str
    location: str
    default_split: str
    id_column: str | None
    question_column: str
    answer_column: str
    keep_columns: bool = False

    def error(self, problem: str, place: str = "") -> InputError:
        """Return an error about this source that names its field, its location and the row."""
        return InputError(f"{self.field} is {self.location!r}{place and ', '}{place}: {problem}")


@dataclass(frozen=True)
class Row:
    """An example and its place in the data (``"line 3"``, ``"row 3"``; from 1, a header not counted)."""

    place: str
    example: Example


def read_rows(source: Source) -> list[Row]:
    """Read every row, in order; of rows with the same question the first is kept and a warning says how many went.

    Raises:
        InputError: The location cannot be read, a column or a value is missing, a question is empty, or an id names two
            questions.
    """
    by_question: dict[str, Row] = {}
    by_id: dict[str, Row] = {}
    repeated = contradicted = 0
    for place, values in _raw_rows(source):
        row = Row(place, _example(source, place, values))
        question = row.example.question
        if (first := by_question.get(question)) is not None:
            repeated += 1
            contradicted += first.example.answer != row.example.answer
            continue
        if (other := by_id.get(row.example.id)) is not None:
            raise source.error(
                f"id {row.example.id!r} was already given to another question in {other.place}; ids in column "
                f"{source.id_column!r} must be unique, or leave problem.id_column empty",
                place,
            )
        by_question[question] = by_id[row.example.id] = row
    if not by_question:
        raise source.error("there are no rows")
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
    return list(by_question.values())


def _raw_rows(source: Source) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if source.location.startswith("hf:"):
        return _hugging_face(source)
    path = Path(source.location).expanduser()
    if path.suffix not in FORMATS:
        raise source.error(
            f"unknown kind of file {path.suffix!r}; allowed are {', '.join(FORMATS)} and "
            "hf:owner/dataset[:config][@split]"
        )
    if not path.is_file():
        raise source.error("it is a folder; name a file in it" if path.is_dir() else "there is no such file")
    return _jsonl(source, path) if path.suffix == ".jsonl" else _table(source, path)


def _jsonl(source: Source, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    # Split at \n alone: a JSON string may hold U+2028, which str.splitlines takes for the end of a line.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        place = f"line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode("utf-8-sig"))
        except json.JSONDecodeError as error:
            raise source.error(f"not JSON ({error.msg} at column {error.colno})", place) from None
        except UnicodeDecodeError as error:
            raise source.error(f"not UTF-8 ({error.reason} at byte {error.start})", place) from None
        except (ValueError, RecursionError) as error:
            # A number of thousands of digits, or thousands of brackets.
            raise source.error(f"not usable JSON ({error})", place) from None
        if not isinstance(values, dict):
            raise source.error(
                f"it holds a {type(values).__name__}; every line must be an object such as "
                f'{{"{source.question_column}": "...", "{source.answer_column}": "..."}}',
                place,
            )
        yield place, values


def _table(source: Source, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import polars

    try:
        # CSV is all text: a column of numbers keeps its zeros (007) and its decimals (1.50) as they are written.
        is_csv = path.suffix == ".csv"
        frame = polars.read_csv(path, infer_schema=False) if is_csv else polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise source.error(f"not a readable {path.suffix} file ({first_line})") from error
    yield from _numbered(frame.iter_rows(named=True))


def _hugging_face(source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    where = _HF.fullmatch(source.location)
    if where is None:
        raise source.error("allowed is hf:owner/dataset[:config][@split], for example hf:openai/gsm8k:main@train")
    import datasets

    try:
        # No trust_remote_code, ever: a data set is data.
        dataset = datasets.load_dataset(where["id"], name=where["config"], split=where["split"] or source.default_split)
    except Exception as error:
        # The edge to the network and to whatever the library builds on: it raises a dozen unrelated types.
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise source.error(
            f"Hugging Face data set cannot be loaded ({type(error).__name__}: {reason}); check its name, config, split "
            "and the network"
        ) from error
    yield from _numbered(dataset)


def _numbered(rows: Iterable[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, values in enumerate(rows, start=1):
        yield f"row {number}", values


def _example(source: Source, place: str, values: Mapping[str, Any]) -> Example:
    question = _text(source, place, values, "question_column", source.question_column)
    answer = _text(source, place, values, "answer_column", source.answer_column)
    if source.id_column is None:
        name = question_id(question)
    else:
        name = _text(source, place, values, "id_column", source.id_column)
    used = {source.id_column, source.question_column, source.answer_column}
    rest = {key: _json(value) for key, value in values.items() if key not in used} if source.keep_columns else {}
    return Example(name, question, answer, rest)


def _text(source: Source, place: str, values: Mapping[str, Any], field: str, column: str) -> str:
    if column not in values:
        raise source.error(
            f"no column {column!r}; it has {', '.join(map(repr, values)) or 'none'}: set problem.{field} to one",
            place,
        )
    value = values[column]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise source.error(f"column {column!r} is empty (null)", place)
    if not isinstance(value, _SCALARS):
        raise source.error(f"column {column!r} holds a {type(value).__name__}; it must be text or a number", place)
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float) and value.is_integer() and abs(value) < _EXACT_FLOAT:
        text = str(int(value))  # whole numbers come as 42.0 from a column that has gaps
    else:
        text = str(value).strip()
    if not text:
        raise source.error(f"column {column!r} is empty", place)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise source.error(f"column {column!r} is not text (half of a surrogate pair)", place)
    return text


def _json(value: Any) -> Any:
    """Convert a value to JSON's types; one that JSON has no form for (dates, decimals, bytes) becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
