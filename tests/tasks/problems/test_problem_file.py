"""Reading questions and answers: every format gives the same examples, every fault names its place."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import polars
import pytest

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import hub
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import Problem
from thickets.tasks.types import Example

ROWS = [
    {"key": "a", "question": "What is 40 + 2?", "answer": "42"},
    {"key": "b", "question": "What is half of 3?", "answer": "1.5"},
    {"key": "c", "question": 'Who says "\u2028hi"?', "answer": "007"},
]


def problem(path: Path | str, **values: Any) -> Problem:
    return load_problem(ProblemConfig(name="file", path=str(path), **values))


def jsonl(folder: Path, *rows: Any, name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def proves_itself(made: Problem, examples: list[Example]) -> bool:
    answers = [(made.extract(example.answer, example), example) for example in examples]
    return all(answer is not None and made.score(answer, example) for answer, example in answers)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("verifier", ["exact", "numeric"])
def test_every_format_gives_the_same_examples_and_gold_answers_score_one(
    tmp_path: Path, kind: str, verifier: str
) -> None:
    path = tmp_path / f"data.{kind}"
    frame = polars.DataFrame(ROWS)
    if kind == "jsonl":
        path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS), encoding="utf-8")
    elif kind == "csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    made = problem(path, id_column="key", verifier=verifier)
    examples = made.examples(0, 0)
    assert examples == [Example(row["key"], row["question"], row["answer"]) for row in ROWS]
    assert proves_itself(made, examples)


def test_numbers_become_text_as_a_person_would_write_them(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "answer": value} for n, value in enumerate([42, 42.0, 1.5, True, 10**20])]
    assert [example.answer for example in problem(jsonl(tmp_path, *rows)).examples(0, 0)] == [
        "42", "42", "1.5", "true", "1" + "0" * 20
    ]  # fmt: skip
    path = tmp_path / "numbers.parquet"
    polars.DataFrame({"question": ["a", "b"], "answer": [42, 7]}).write_parquet(path)
    assert [example.answer for example in problem(path).examples(0, 0)] == ["42", "7"]
    path = tmp_path / "numbers.csv"
    path.write_text("question,answer\na,007\nb,1.50\n")
    assert [example.answer for example in problem(path).examples(0, 0)] == ["007", "1.50"]


def test_an_id_made_from_the_question_survives_reordering(tmp_path: Path) -> None:
    forwards = problem(jsonl(tmp_path, *ROWS)).examples(0, 0)
    backwards = problem(jsonl(tmp_path, *ROWS[::-1])).examples(0, 0)
    assert forwards == backwards[::-1]
    assert forwards[0].id == "8594d74061229f68"  # known answer: a change here orphans every stored score


@pytest.mark.parametrize("id_column", [None, "key"])
def test_a_repeated_question_is_kept_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, id_column: str | None
) -> None:
    path = jsonl(tmp_path, *ROWS, {**ROWS[0], "key": "d"}, {**ROWS[0], "key": "e", "answer": "43"})
    with caplog.at_level(logging.WARNING):
        examples = problem(path, id_column=id_column).examples(0, 0)
    assert len(examples) == 3
    assert examples[0].answer == "42"
    assert "dropped 2 of 5 rows" in caplog.text
    assert "1 of them with another answer" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0], "{broken"], r"problem.path is '.*data.jsonl', line 2: not JSON \(.* at column 2\)"),
        ([ROWS[0], "", "[1, 2]"], r"line 3: it holds a list; every line must be an object"),
        (["[" * 100_000], r"line 1: not "),
        (['{"question": "a", "answer": ' + "9" * 5000 + "}"], r"line 1: not usable JSON"),
        (
            [{"question": "a", "reply": 1}],
            r"line 1: no column 'answer'; it has 'question', 'reply': set problem.answer_c",
        ),
        ([ROWS[0], {"question": " ", "answer": "x"}], r"line 2: column 'question' is empty"),
        ([{"question": "a", "answer": None}], r"line 1: column 'answer' is empty \(null\)"),
        ([{"question": "a", "answer": float("nan")}], r"line 1: column 'answer' is empty"),
        (
            [{"question": "a", "answer": {"x": 1}}],
            r"line 1: column 'answer' holds an object .*: problem.answer_column: answer.x",
        ),
        ([{"question": "a", "answer": [[1]]}], r"line 1: column 'answer\[0\]' holds a list"),
        ([{"question": "a", "answer": []}], r"line 1: column 'answer' is an empty list"),
        (['{"question": "\\ud800", "answer": "x"}'], r"line 1: column 'question' is not text"),
        ([""], r"there are no rows"),
    ],
)
def test_a_fault_in_jsonl_names_its_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        problem(jsonl(tmp_path, *rows)).examples(0, 0)
    assert "\n" not in str(caught.value)


def test_an_id_of_two_questions_names_both_rows(tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROWS[0], ROWS[1], {**ROWS[2], "key": "a"})
    with pytest.raises(InputError, match=r"line 3: id 'a' was already given to another question in line 1"):
        problem(path, id_column="key").examples(0, 0)


def test_a_gap_in_csv_and_parquet_names_its_row(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("question,answer\na,1\nb,\n")
    with pytest.raises(InputError, match=r"row 2: column 'answer' is empty \(null\)"):
        problem(path).examples(0, 0)
    path = tmp_path / "data.parquet"
    polars.DataFrame({"question": ["a", None], "answer": [1, 2]}).write_parquet(path)
    with pytest.raises(InputError, match=r"row 2: column 'question' is empty \(null\)"):
        problem(path).examples(0, 0)


def test_a_file_that_is_not_what_its_name_says_is_an_input_error(tmp_path: Path) -> None:
    for name in ("data.parquet", "data.csv", "data.jsonl"):
        path = tmp_path / name
        path.write_bytes(b"\xff\xfe\x00garbage\n\xff,\xff,\xff")
        with pytest.raises(InputError, match=r"problem.path is ") as caught:
            problem(path).examples(0, 0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jsonl", r"there is no such file"),
        ("data.txt", r"unknown kind of file '.txt'; allowed are .jsonl, .csv"),
    ],
)
def test_a_path_that_cannot_be_read_says_what_can(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        problem(path).examples(0, 0)


def test_a_gold_answer_the_verifier_could_never_accept_is_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path, ROWS[0], {"question": "b", "answer": "twelve"})
    with pytest.raises(
        InputError, match=r"line 2: the gold answer 'twelve' .* verifier numeric: .* exactly one number"
    ):
        problem(path, verifier="numeric").examples(0, 0)


def test_official_test_data_is_read_from_test_path(tmp_path: Path) -> None:
    train = jsonl(tmp_path, *ROWS[:2])
    assert problem(train).test_examples() is None
    made = problem(train, test_path=str(jsonl(tmp_path, ROWS[2], name="test.jsonl")))
    assert made.test_examples() == [Example(made.test_examples()[0].id, ROWS[2]["question"], "007")]  # type: ignore[index]
    with pytest.raises(InputError, match=r"problem.test_path is"):
        problem(train, test_path="missing.csv").test_examples()


def test_identity_covers_the_template_and_not_the_path(tmp_path: Path) -> None:
    assert problem("a.csv").identity() == problem("b.csv").identity()
    assert problem("a.csv").identity() != problem("a.csv", instruction="{question}!").identity()
    assert problem("a.csv").identity() != problem("a.csv", verifier="numeric").identity()
    json.dumps(problem("a.csv", verifier="regex", pattern="a+").identity())


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local data set folder, and a cache that is thrown away with it."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(folder, *ROWS, name="train.jsonl")
    jsonl(folder, {"key": "t", "question": "What is 1 + 1?", "answer": "2"}, name="test.jsonl")
    return folder


def test_a_hugging_face_data_set_gives_its_train_and_test_splits(hugging_face: Path) -> None:
    made = problem(f"hf:{hugging_face}", test_path=f"hf:{hugging_face}", id_column="key")
    assert [example.id for example in made.examples(0, 0)] == ["a", "b", "c"]
    assert [example.id for example in made.test_examples() or []] == ["t"]
    named = problem(f"hf:{hugging_face}@test", id_column="key")
    assert [example.id for example in named.examples(0, 0)] == ["t"]


def test_a_hugging_face_data_set_that_cannot_be_loaded_is_one_line(hugging_face: Path) -> None:
    for location in (f"hf:{hugging_face}@validation", "hf:nobody/no-such-set"):
        with pytest.raises(InputError, match=r"problem.path is 'hf:.*cannot be loaded") as caught:
            problem(location).examples(0, 0)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"allowed is hf:owner/dataset"):
        problem("hf:a@b@c").examples(0, 0)


@pytest.mark.parametrize(
    ("location", "found"),
    [
        ("hf:..", "holds more than 10,000 files and folders"),
        ("hf:../..", "holds more than 10,000 files and folders"),
        ("hf:../nowhere", "there is no folder ../nowhere"),
        ("hf:~/no such folder", "there is no folder ~/no such folder"),
        ("hf:/no/such", "there is no folder /no/such"),
        ("hf:a/b/c", "there is no folder a/b/c"),
        ("hf:a--b/c", "cannot be a hub id"),
        ("hf:data.csv", "data.csv is a file"),
    ],
)
def test_a_path_that_is_no_data_set_is_told_at_once(
    location: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "one" / "two"
    here.mkdir(parents=True)
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / "one" / f"{number}.txt").touch()
    (here / "data.csv").write_text("question,answer\n")
    monkeypatch.chdir(here)
    monkeypatch.setattr(hub, "_MOST_ENTRIES", 10)
    monkeypatch.setitem(sys.modules, "datasets", None)  # whoever imports it, fails
    with pytest.raises(InputError, match=r"^problem\.path is ") as caught:
        problem(location).examples(0, 0)
    assert found.replace("10,000", "10") in str(caught.value)


def test_a_hugging_face_data_set_has_nested_columns_and_chat_turns(hugging_face: Path) -> None:
    (hugging_face / "test.jsonl").unlink()
    row = {"prompt": [{"role": "user", "content": "2 + 2?"}], "reward_model": {"ground_truth": "4"}}
    jsonl(hugging_face, row, name="train.jsonl")
    made = problem(f"hf:{hugging_face}", question_column="prompt", answer_column="reward_model.ground_truth")
    [example] = made.examples(0, 0)
    assert (example.question, example.answer) == ("2 + 2?", "4")
    assert made.messages(example) == row["prompt"]
    with pytest.raises(InputError, match=r"row 1: no column 'answer'; .*, such as reward_model.ground_truth$"):
        problem(f"hf:{hugging_face}", question_column="prompt").examples(0, 0)
