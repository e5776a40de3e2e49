"""The project's table of replies: each verdict is one that a careful person would give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.tasks.problems import ProblemConfig
from thickets.tasks.problems.file import FileProblem, make_verifier
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example
from thickets.tasks.verifiers import CHOICE, EXACT, NUMERIC

FOLDER = Path(__file__).parents[2] / "cases" / "verdicts"
VERIFIERS = {"numeric": NUMERIC, "choice": CHOICE, "exact": EXACT}


def rows(name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in found if row["verifier"] in VERIFIERS]


def verdict(row: dict[str, Any]) -> str:
    gold, *aliases = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
    columns = {"options": row.get("options"), "aliases": aliases}
    example = Example("1", row.get("question", ""), gold, {name: value for name, value in columns.items() if value})
    verifier = make_verifier(ProblemConfig(name="file", path="unused.csv", verifier=row["verifier"]))
    if not verifier.accepts(verifier.gold(example), example):
        return "gold refused"
    config = ProblemConfig(name="file", path="unused.csv", verifier=row["verifier"])
    [found] = Judge(FileProblem(config)).judge([row["reply"]], [example])
    return "abstains" if found.answer is None else "right" if found.correct else "wrong"


@pytest.mark.parametrize("name", ["shown", "numeric", "choice", "exact"])
def test_every_verdict_is_allowed(name: str) -> None:
    table = rows(name)
    assert len(table) >= 40
    assert [(row, found) for row in table if (found := verdict(row)) not in row["allowed"]] == []


@pytest.mark.parametrize("name", ["shown", "numeric", "choice", "exact"])
def test_the_answer_is_where_it_is_said_to_stand(name: str) -> None:
    told = 0
    for row in rows(name):
        verifier, gold = VERIFIERS[row["verifier"]], row["gold"]
        example = Example("1", row.get("question", ""), gold[0] if isinstance(gold, list) else gold)
        answer = verifier.extract(row["reply"], example)
        assert verifier.span is not None
        span = verifier.span(row["reply"], example)
        assert answer is not None or span is None, row
        if span:
            told += 1
            start, end = span
            assert verifier.extract(row["reply"][start:end], example) == answer, row
    assert told
