"""A table of replies with the verdicts that are allowed for each: checks verifiers, as the project checks its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from thickets.flows.check.single import judge_reply
from thickets.flows.check.verdict import AnyVerdict
from thickets.storage.errors import InputError


def _texts(value: object) -> object:
    """Take one answer for a list of one, and a number as the data's reader takes it."""
    answers = value if isinstance(value, list) else [value]
    return [str(each) if isinstance(each, int | float) and not isinstance(each, bool) else each for each in answers]


class Case(BaseModel):
    """One row of a table of cases; fields that are not named here are not looked at."""

    model_config = ConfigDict(frozen=True)

    verifier: str
    gold: Annotated[tuple[str, ...], BeforeValidator(_texts), Field(min_length=1)]
    reply: str
    allowed: Annotated[tuple[AnyVerdict, ...], Field(min_length=1)]
    why: str = ""
    pattern: str | None = Field(None, description="Of the regex verifier.")
    question: str = ""
    options: tuple[str, ...] = Field((), description="Of the question, A first.")


class Failure(BaseModel):
    """A row whose verdict is not allowed."""

    model_config = ConfigDict(frozen=True)

    line: int
    verifier: str
    gold: tuple[str, ...]
    reply: str
    verdict: AnyVerdict
    extracted: str | None
    score: float
    allowed: tuple[AnyVerdict, ...]
    why: str = Field(description="Of the row.")


class CasesResult(BaseModel):
    """The rows of a table of cases that are judged otherwise than it allows."""

    model_config = ConfigDict(frozen=True)

    n: int
    failures: tuple[Failure, ...]


def check_cases(path: Path) -> CasesResult:
    """Judge every row of a JSONL file.

    Raises:
        InputError: The file cannot be read, a row is none, or a verifier cannot be used; the message names the line.
    """
    # All rows before the first verdict: a mistake in the last must not appear after a minute of judging.
    cases = list(_read(path))
    if not cases:
        raise InputError(f"--cases: {path} holds no row")
    failures = []
    for line, case in cases:
        try:
            found = judge_reply(
                case.verifier,
                case.gold,
                case.reply,
                pattern=case.pattern,
                question=case.question,
                options=case.options,
            )
        except InputError as error:
            raise InputError(f"--cases: {path}, line {line}: {error}") from None
        if found.verdict not in case.allowed:
            judged = {"verdict": found.verdict, "extracted": found.extracted, "score": found.score}
            failures.append(Failure(line=line, **case.model_dump(exclude={"pattern", "question", "options"}), **judged))
    return CasesResult(n=len(cases), failures=tuple(failures))


def _read(path: Path) -> Iterator[tuple[int, Case]]:
    """Read the rows with their lines, from 1."""
    try:
        lines = path.read_bytes().split(b"\n")  # not splitlines: a JSON string may hold U+2028
    except OSError as error:
        raise InputError(f"--cases: {path} cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, Case.model_validate(json.loads(line.decode("utf-8-sig")))
        except (ValueError, RecursionError) as error:
            raise InputError(f"--cases: {path}, line {number}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"{place or 'the row'}: {first['msg']}"
    return f"not JSON ({' '.join(str(error).split())})"
