"""The project's table of replies: an answer stands where it is said to. Its verdicts: `tests/flows/test_check.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.tasks.types import Example
from thickets.tasks.verifiers import CHOICE, EXACT, NUMERIC

FOLDER = Path(__file__).parents[2] / "cases" / "verdicts"
VERIFIERS = {"numeric": NUMERIC, "choice": CHOICE, "exact": EXACT}


def rows(name: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in found if row["verifier"] in VERIFIERS]


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
