"""MBPP: files in both of its forms, and rows that do not prove themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.mbpp import SAMPLE
from thickets.tasks.types import FULL

TESTS = SAMPLE.metadata["test_list"]
FULL_FORM = {"task_id": 1, "text": SAMPLE.question, "code": SAMPLE.answer, "test_list": TESTS, "test_setup_code": ""}
SANITIZED = {"task_id": 1, "prompt": SAMPLE.question, "code": SAMPLE.answer, "test_list": TESTS, "test_imports": []}


@pytest.mark.parametrize(("row", "more"), [(FULL_FORM, {}), (SANITIZED, {"question_column": "prompt"})])
def test_a_file_in_either_form_loads_and_its_gold_answers_are_right(row: dict, more: dict, tmp_path: Path) -> None:
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(row) + "\n")
    problem = load_problem(ProblemConfig(name="mbpp", path=str(path), sandbox="weak", **more))
    [example] = problem.examples(0, 0)
    answer = problem.extract(f"```python\n{row['code']}\n```", example)
    assert answer is not None
    assert problem.score(answer, example) == FULL
    assert problem.judgement()["verifier"] == "tests"


def test_a_gold_program_that_fails_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "mbpp.jsonl"
    path.write_text(json.dumps(FULL_FORM | {"code": "def count_long(text, n):\n    return 7"}) + "\n")
    with pytest.raises(InputError, match=r"must be a program that passes every test of column 'test_list'"):
        load_problem(ProblemConfig(name="mbpp", path=str(path), sandbox="weak")).examples(0, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"verifier": "numeric"}, "mbpp is judged by tests"),
        ({"choices_column": "x"}, "mbpp takes none"),
        ({"name": "file", "sandbox": "weak"}, "problem.sandbox is 'weak', but no program is run"),
        (
            {"name": "file", "verifier": "exact", "tests_column": "t"},
            "problem.tests_column is 't', but no program is run",
        ),
        ({"sandbox": "off"}, "required"),
    ],
)
def test_settings_that_do_not_fit_are_named(fields: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProblemConfig(**{"name": "mbpp", "path": "mbpp.jsonl", **fields})
