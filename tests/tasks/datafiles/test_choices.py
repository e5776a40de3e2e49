"""Options as public data writes them, and the right one as letter, label, number or text: or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Source, read_rows
from thickets.tasks.types import Example

COLOURS = ["red", "green", "blue"]


def read(folder: Path, *rows: tuple[Any, Any]) -> list[Example]:
    path = folder / "data.jsonl"
    lines = [{"question": f"q{rows.index(row)}", "options": row[0], "answer": row[1]} for row in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    names = ("train", None, "question", "answer")
    return [row.example for row in read_rows(Source("problem.path", str(path), *names, choices_column="options"))]


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (COLOURS, "B"),  # MMLU-Pro
        (COLOURS, "(B)"),
        (COLOURS, "Green "),
        (json.dumps(COLOURS), "B"),  # in a .csv file
        ({"text": COLOURS, "label": ["A", "B", "C"]}, "B"),  # ARC
        ({"text": COLOURS, "label": ["1", "2", "3"]}, "2"),  # ARC, some rows
        ({"A": "red", "B": "green", "C": "blue", "D": None}, "B"),  # MedQA
        ([{"key": "A", "value": "red"}, {"key": "B", "value": "green"}, {"key": "C", "value": "blue"}], "B"),
        (["A) red", "B) green", "C)blue"], "B"),  # AQuA
    ],
)
def test_options_are_put_under_the_question_and_the_answer_is_a_letter(
    tmp_path: Path, options: Any, answer: str
) -> None:
    [example] = read(tmp_path, (options, answer))
    assert example.question == "q0\n\nA. red\nB. green\nC. blue"
    assert (example.answer, example.metadata) == ("B", {"options": COLOURS})


def test_numbers_count_from_0_where_one_of_them_is_0(tmp_path: Path) -> None:
    for rows in ([(COLOURS, 2), (COLOURS, 0)], [(COLOURS, "2"), (COLOURS, "0")]):  # MMLU; HellaSwag
        assert [example.answer for example in read(tmp_path, *rows)] == ["C", "A"]
    with pytest.raises(
        InputError, match=r"column 'answer' holds numbers of options and never a 0, so they may be count"
    ):
        read(tmp_path, (COLOURS, 2), (COLOURS, 1))
    with pytest.raises(InputError, match=r"line 2: column 'answer' holds '3', which is none of the 3 options"):
        read(tmp_path, (COLOURS, 1), (COLOURS, 3))


@pytest.mark.parametrize(
    ("rows", "letters"),
    [
        ([(["3", "4", "5"], 4), (["1", "2", "3"], 2)], "BB"),  # texts: 4 is no number of three
        ([(["3", "4", "0"], 0), (["1", "2", "3"], 2), (COLOURS, 1)], "ACB"),  # numbers: 1 is no colour
        ([(["2", "1", "7"], 1), (["0", "1"], 0)], "BA"),  # both, and they agree
        ([(["B", "A"], "A"), (COLOURS, "C")], "AC"),  # letters
        ([(["B", "A"], "A"), (COLOURS, "green")], "BB"),  # texts
        ([(["x", "x"], "B"), (COLOURS, "C")], "BC"),
        ([({"text": ["2", "1"], "label": ["1", "2"]}, "1"), ({"text": COLOURS, "label": list("ABC")}, "B")], "AB"),
    ],
)
def test_all_rows_together_tell_how_answers_are_written(
    tmp_path: Path, rows: list[tuple[Any, Any]], letters: str
) -> None:
    assert [example.answer for example in read(tmp_path, rows[0], *rows)] == list(letters)  # one repeated


@pytest.mark.parametrize(
    ("options", "answer", "message"),
    [
        (
            ["1", "2", "0"],
            0,
            r"line 2: column 'answer' holds an answer that is option A by number counted from 0 and C by",
        ),
        (
            ["B", "A"],
            "A",
            r"option A by letter and B by text, and so may be every other row's; name a column with letters",
        ),
        (["x", "x"], "x", r"line 2: column 'answer' holds 'x', which is none of the 2 options"),
        (COLOURS, "D", r"'D', which is none of the 3 options in column 'options'.*; allowed are a letter from A to C"),
        ({"text": COLOURS, "label": ["1", "2", "3"]}, "B", r"none of the 3 options .* allowed are one of 1, 2, 3, or"),
        (COLOURS, ["B"], r"column 'answer' holds a list of 1; it must be text or a number"),
        (["one"], "A", r"column 'options' has 1 options; allowed are 2 to 26"),
        ([str(n) for n in range(27)], "A", r"has 27 options"),
        (["a", ""], "A", r"option B in column 'options' is empty"),
        ("a, b", "A", r"column 'options' holds the text 'a, b'; options are a list of texts"),
        ({"text": COLOURS, "label": ["A"]}, "A", r"holds an object with 'text', 'label'; options are"),
        ({"text": COLOURS, "label": ["A", "A", "B"]}, "A", r"calls two options the same"),
        ([["a"], ["b"]], "A", r"holds a list of 2; options are"),
    ],
)
def test_an_answer_that_is_not_surely_one_option_is_refused(
    tmp_path: Path, options: Any, answer: Any, message: str
) -> None:
    both = (["A", "B", "0"], "A") if isinstance(answer, str) else (["0", "1"], 0)  # agrees in every way
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, both, (options, answer))
    assert "\n" not in str(caught.value)


def test_rows_of_two_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"line 2: .* 'green', which is none of .*, as in the rows before it by letter;"
    ):
        read(tmp_path, (COLOURS, "A"), (COLOURS, "green"))
