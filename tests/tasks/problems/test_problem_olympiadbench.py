"""OlympiadBench: rows that cannot be asked, several answers, units, tolerances, and files of its layout."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import polars as pl
import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import Problem, ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example

BARE = {"question": "How many?", "final_answer": ["$2$"]}
Loaded = tuple[Problem, list[Example]]


def load(folder: Path, *rows: dict, **fields: str) -> Loaded:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(BARE | row) for row in rows))
    problem = load_problem(ProblemConfig(name="olympiadbench", path=str(path), **fields))
    return problem, problem.examples(0, 0)


def verdict(loaded: Loaded, reply: str) -> bool | None:
    problem, [example] = loaded
    [found] = Judge(problem).judge([reply], [example])
    return None if found.answer is None else found.correct


def test_rows_that_cannot_be_asked_or_judged_are_left_out_and_counted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _, examples = load(
            tmp_path,
            {},
            {"question": "a", "image_1": {"bytes": "x", "path": None}},
            {"question": "b", "modality": "Multimodal"},
            {"question": "c", "question_type": "Theorem proof", "final_answer": None},
            {"question": "d", "final_answer": []},
            {"question": "e", "final_answer": None},
            {"question": "f", "final_answer": ["$"]},
            {"question": "g", "image_1": None, "context": None, "unit": None, "error": None, "modality": "Text-only"},
        )
    assert [each.question for each in examples] == ["How many?", "g"]
    [line] = [record.getMessage() for record in caplog.records]
    assert line.endswith(
        "left out 6 of 8 rows: 2 with an image, 1 with a proof to be written, 2 without a final answer, "
        "1 whose answer verifier math cannot read"
    )


@pytest.mark.parametrize(
    ("row", "reply", "is_right"),
    [
        ({}, r"\boxed{2}", True),
        ({}, r"\boxed{3}", False),
        ({}, r"\boxed{}", None),
        ({}, "", None),
        ({}, r"\boxed{2 \text{ or } 3", None),
        # several answers are one set
        ({"final_answer": ["$3, -3$"], "is_multiple_answer": True}, r"\boxed{-3, 3}", True),
        ({"final_answer": ["3", "-3"], "is_multiple_answer": True}, r"\boxed{-3, 3}", True),
        ({"final_answer": ["3", "-3"], "is_multiple_answer": True}, r"\boxed{3}", False),
        ({"final_answer": ["$(1,3),(3,1)$"], "is_multiple_answer": True}, r"\boxed{(3,1), (1,3)}", True),
        # else other forms of one
        ({"final_answer": ["$n!$", "$24$"], "is_multiple_answer": False}, r"\boxed{24}", True),
        ({"final_answer": '["3", "-3"]', "is_multiple_answer": "True"}, r"\boxed{-3, 3}", True),
        ({"final_answer": "$[0,1]$"}, r"\boxed{[0, 1]}", True),
        # units
        ({"final_answer": ["$12$"], "unit": "m/s"}, r"\boxed{12 \text{ m/s}}", True),
        ({"final_answer": ["$12$"], "unit": "m/s"}, r"\boxed{12}", True),
        ({"final_answer": ["$12$"], "unit": "m/s"}, r"\boxed{12 \text{ km/h}}", False),
        ({"final_answer": ["$12$"], "unit": "furlongs per fortnight"}, r"\boxed{12}", True),
        # tolerances
        ({"final_answer": ["$20$"], "error": "1"}, r"\boxed{19.6}", True),
        ({"final_answer": ["$20$"], "error": "1"}, r"\boxed{18.9}", False),
        ({"final_answer": ["$0.52$"], "error": "5e-3"}, r"\boxed{0.524}", True),
        ({"final_answer": ["$0.52$"], "error": "5e-3"}, r"\boxed{0.53}", False),
        ({"final_answer": ["$20$"], "error": None}, r"\boxed{19.6}", False),
        ({"final_answer": ["$20$"], "error": "about one"}, r"\boxed{19.6}", False),
        ({"final_answer": ["$20$"], "error": "1e99999999"}, r"\boxed{19.6}", False),
        ({"final_answer": ["$\\pi$"], "error": "1"}, r"\boxed{3}", False),
    ],
    ids=range(24),
)
def test_replies(row: dict, reply: str, is_right: bool | None, tmp_path: Path) -> None:
    assert verdict(load(tmp_path, row), reply) is is_right


def test_the_context_stands_before_the_question(tmp_path: Path) -> None:
    problem, [example] = load(tmp_path, {"context": "Take $g = 10$."})
    assert problem.messages(example)[-1]["content"].startswith("Take $g = 10$.\n\nHow many?\n\n")
    assert r"\boxed{}" in problem.messages(example)[-1]["content"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"problem\.answer_column"):
        load(tmp_path, {}, answer_column="gold")


def test_a_table_of_parquet_and_a_folder_as_of_hugging_face(tmp_path: Path) -> None:
    folder = tmp_path / "OlympiadBench"
    folder.mkdir()
    rows = [
        BARE | {"id": 7, "is_multiple_answer": False, "image_1": None},
        BARE | {"id": 8, "question": "Both?", "final_answer": ["$1$", "$2$"], "is_multiple_answer": True},
    ]
    pl.DataFrame(rows, schema_overrides={"image_1": pl.String}).write_parquet(folder / "train.parquet")
    for path in (str(folder / "train.parquet"), f"hf:{folder}"):
        problem = load_problem(ProblemConfig(name="olympiadbench", path=path, id_column="id"))
        assert [(each.id, each.answer) for each in problem.examples(0, 0)] == [("7", "$2$"), ("8", "$1$, $2$")]
