"""MATH-500: its columns, replies of every kind, and answers that cannot be judged."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example

POINT = Example("1", "Where?", r"\left( 2, \frac{\pi}{2} \right)")


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(load_problem(ProblemConfig(name="math500", path="none.jsonl")))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (r"So it is $\boxed{(2, \pi/2)}$.", True),
        (r"The answer is $(2, 0.5\pi)$.", True),
        (r"\boxed{(\pi/2, 2)}", False),
        (r"\boxed{(2, \pi/2)} or \boxed{(2, 3)}", False),
        (r"\boxed{(2, \frac{\pi", None),
        (r"\boxed{}", None),
        ("I cannot tell.", False),
        ("", None),
        (r"<think>\boxed{(2, \pi/2)}", None),
    ],
    ids=range(9),
)
def test_replies(judge: Judge, reply: str, verdict: bool | None) -> None:
    [found] = judge.judge([reply], [POINT])
    assert (found.answer is None) is (verdict is None)
    assert found.correct is (verdict is True)


def test_answers_of_one_value_vote_together(judge: Judge) -> None:
    replies = [r"\boxed{(2, \pi/2)}", r"\boxed{\left(2, \frac{\pi}{2}\right)}", r"#### $(2, \frac\pi2)$"]
    assert len({found.answer for found in judge.judge(replies, [POINT] * 3)}) == 1


def test_rows_whose_answer_cannot_be_read_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"problem": f"{n}?", "answer": answer} for n, answer in enumerate(["1", r"\text{June 20}", "(2,3)"])]
    path.write_text("\n".join(map(json.dumps, rows)))
    with caplog.at_level(logging.WARNING):
        found = load_problem(ProblemConfig(name="math500", path=str(path))).examples(0, 0)
    assert [each.answer for each in found] == ["1", "(2,3)"]
    assert "left out 1 of 3 rows: 1 whose answer verifier math cannot read" in caplog.text
    path.write_text(json.dumps(rows[1]))
    with pytest.raises(InputError, match="there are no rows but those left out: 1 whose answer"):
        load_problem(ProblemConfig(name="math500", path=str(path))).examples(0, 0)


def test_other_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"asked": "1 + 1?", "gold": "2"}))
    with pytest.raises(InputError, match=r"problem\.question_column"):
        load_problem(ProblemConfig(name="math500", path=str(path))).examples(0, 0)
    named = ProblemConfig(name="math500", path=str(path), question_column="asked", answer_column="gold")
    assert [each.answer for each in load_problem(named).examples(0, 0)] == ["2"]
    with pytest.raises(ValidationError, match="math500 is judged by math"):
        ProblemConfig(name="math500", path="x.jsonl", verifier="numeric")


def test_a_column_that_is_called_as_in_other_files_can_be_named_too(tmp_path: Path) -> None:
    """It is the default of the field, so that nothing tells whether it was named."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": "1 + 1?", "answer": "2"}))
    for fields in ({}, {"question_column": "question"}):
        found = load_problem(ProblemConfig(name="math500", path=str(path), **fields)).examples(0, 0)
        assert [each.question for each in found] == ["1 + 1?"]


def test_a_folder_as_of_hugging_face(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({"problem": "1 + 1?", "answer": "2", "level": 1}))
    found = load_problem(ProblemConfig(name="math500", path=f"hf:{tmp_path}@test")).examples(0, 0)
    assert [each.question for each in found] == ["1 + 1?"]
