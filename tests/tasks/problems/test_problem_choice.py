"""Multiple choice as a problem: options, golds, prompts, and what is compared by likelihood."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.choice import Choice
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.types import Example, Label

ROWS = [
    {"question": "Which is a fruit?", "choices": ["a carrot", "a pear", "a leek"], "answer": 1},
    {"question": "Which is a metal?", "choices": ["iron", "sand"], "answer": 0},
]


def write(folder: Path, rows: list[dict]) -> str:
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def problem(path: str, **changes) -> FileProblem:
    made = load_problem(ProblemConfig.model_validate({"name": "choice", "path": path, **changes}))
    assert isinstance(made, FileProblem)
    return made


def test_options_stand_under_the_question_and_gold_answers_prove_themselves(tmp_path: Path) -> None:
    made = problem(write(tmp_path, ROWS))
    first, second = made.examples(0, 0)
    assert made.messages(first)[-1]["content"].startswith("Which is a fruit?\n\nA. a carrot\nB. a pear\nC. a leek\n\n")
    assert (first.answer, second.answer) == ("B", "A")
    for reply, score in (("B", 1000), ("I choose (B).", 1000), ("C", 0)):
        assert made.score(made.extract(reply, first) or "", first) == score
    for reply in ("", "A or B", "none", "D"):
        assert made.extract(reply, first) is None
    assert made.n_options(second) == 2


@pytest.mark.parametrize("answers", [("B", "A"), ("a pear", "iron")], ids=["letters", "texts"])
def test_answers_are_letters_numbers_or_texts(tmp_path: Path, answers: tuple[str, ...]) -> None:
    rows = [row | {"answer": answer} for row, answer in zip(ROWS, answers, strict=True)]
    assert [example.answer for example in problem(write(tmp_path, rows)).examples(0, 0)] == ["B", "A"]


def test_by_likelihood_letters_are_compared_or_texts(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    letters = problem(path, scoring="loglikelihood")
    first, second = letters.examples(0, 0)
    assert letters.labels(first) == (Label("A", "A"), Label("B", "B"), Label("C", "C"))
    assert letters.likelihood_per == "label"
    texts = problem(path, scoring="loglikelihood", likelihood_of="text")
    assert texts.labels(second) == (Label("A", "iron"), Label("B", "sand"))
    assert texts.likelihood_per == "byte"
    assert "letter" not in texts.messages(first)[-1]["content"]
    # A question asked alone has its options in its text.
    alone = Example("a", first.question, "")
    assert texts.labels(alone) == texts.labels(first)
    assert letters.labels(alone) == letters.labels(first)


@pytest.mark.parametrize("of", ["letter", "text"])
def test_a_question_without_options_cannot_be_answered_by_likelihood(tmp_path: Path, of: str) -> None:
    made = problem(write(tmp_path, ROWS), scoring="loglikelihood", likelihood_of=of)
    for question in ("Which is a fruit?", "Which?\nA. one", "Which?\nB. two\nC. three"):
        with pytest.raises(InputError, match="lists no options"):
            made.labels(Example("a", question, ""))


def test_options_in_the_text_serve_a_file_judged_by_choice(tmp_path: Path) -> None:
    rows = [{"question": "Which?\nA) one\nB) two", "answer": "B"}]
    made = problem(write(tmp_path, rows), name="file", verifier="choice", scoring="loglikelihood")
    assert [label.text for label in made.labels(made.examples(0, 0)[0])] == ["A", "B"]
    rows.append({"question": "Which?", "answer": "B"})
    with pytest.raises(InputError, match="line 2: the question 'Which\\?' lists no options"):
        problem(write(tmp_path, rows), name="file", verifier="choice", scoring="loglikelihood").examples(0, 0)


def test_two_options_of_one_text_cannot_be_compared(tmp_path: Path) -> None:
    rows = [{"question": "Which?", "choices": ["one", "one", "two"], "answer": "C"}]
    with pytest.raises(InputError, match="lists one option twice"):
        problem(write(tmp_path, rows), scoring="loglikelihood", likelihood_of="text").examples(0, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "file", "scoring": "loglikelihood"}, "verifier exact knows no labels"),
        ({"name": "file", "verifier": "numeric", "scoring": "loglikelihood"}, "verifier numeric knows no labels"),
        (
            {"name": "file", "verifier": "choice", "scoring": "loglikelihood", "likelihood_of": "text"},
            "problem.choices_column is missing",
        ),
        ({"likelihood_of": "text"}, "problem.scoring is 'generate'"),
        ({"labels": ["a", "b"]}, "choice takes none; remove it (it is for classification)"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        ProblemConfig.model_validate({"name": "choice", "path": "a.jsonl", **changes})


def test_its_own_column_is_the_default(tmp_path: Path) -> None:
    rows = [{"question": "Which?", "options": ["one", "two"], "answer": "one"}]
    with pytest.raises(InputError, match="no column 'choices'"):
        problem(write(tmp_path, rows)).examples(0, 0)
    assert isinstance(problem(write(tmp_path, rows), choices_column="options"), Choice)
