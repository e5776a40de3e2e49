"""Names of columns lead into nested ones; a name that leads nowhere says what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Source, read_rows
from thickets.tasks.datafiles.columns import NoColumn, find

ROW = {
    "reward_model": {"style": "rule", "ground_truth": "4"},
    "answers": ["a", "b", {"text": ["c"]}],
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}],
    "a.b": 1,
    "a": {"b": 2, "c.d": {"e": 3}},
    "m": {"n": {"k": 1}},
    "m.n": {"k": 2},
    "x[0]": 4,
    "x": [5],
    "cell": '{"index": [7, 8]}',
    "text": "[no JSON",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reward_model.ground_truth", "4"),
        ("answers[0]", "a"),
        ("answers[-2]", "b"),
        ("answers[2].text[0]", "c"),
        ("messages[-1].content", "r"),
        ("messages[:-1]", [{"role": "user", "content": "q"}]),
        ("messages[1:]", [{"role": "assistant", "content": "r"}]),
        ("a.b", 1),  # a column of that very name wins
        ("m.n.k", 2),  # and so does a longer one
        ("a.c.d.e", 3),  # dots in a nested name, too
        ("x[0]", 4),
        ("cell.index[1]", 8),
    ],
)
def test_a_path_finds_its_value(name: str, value: Any) -> None:
    assert find(ROW, name) == value


@pytest.mark.parametrize(
    "name",
    ["nothing", "reward_model.truth", "reward_model[0]", "answers[3]", "answers[-4]", "answers.text", "answers[0].text",
     "answers[", "answers[]", "answers[1-2]", "answers[:1].text", "text[0]", "cell.index.x", ".a", "a..b"],
)  # fmt: skip
def test_a_path_that_leads_nowhere_finds_nothing(name: str) -> None:
    with pytest.raises(NoColumn):
        find(ROW, name)


def read(folder: Path, row: dict[str, Any], **names: Any) -> Any:
    path = folder / "data.jsonl"
    path.write_text(json.dumps(row) + "\n")
    columns = {"id_column": None, "question_column": "question", "answer_column": "answer"} | names
    [found] = read_rows(Source("problem.path", str(path), "train", **columns))
    return found.example


@pytest.mark.parametrize(
    ("row", "names", "message"),
    [
        (
            {"prompt": [{"role": "user", "content": "q"}], "reward_model": {"style": "rule", "ground_truth": "4"}},
            {"question_column": "prompt"},
            r"line 1: no column 'answer'; it has 'prompt', 'reward_model.style', 'reward_model.ground_truth': "
            r"set problem.answer_column to one, such as reward_model.ground_truth$",
        ),
        (
            {"prompt": "q", "solution": "1"},
            {},
            r"no column 'question'; .* set problem.question_column to one, such as prompt$",
        ),
        (
            {"question": "q", "answer": {"value": "4", "aliases": ["four"]}},
            {},
            r"column 'answer' holds an object with 'value', 'aliases'; .*: problem.answer_column: answer.value$",
        ),
        (
            {"question": "q", "answer": {"style": "rule", "ground_truth": "4"}},
            {},
            r"column 'answer' holds an object .*: problem.answer_column: answer.ground_truth$",
        ),
        (
            {"question": "q", "answers": ["a"]},
            {"answer_column": "answers[3]"},
            r"no column 'answers\[3\]' \(in 'answers': a list of 1, without item 3\); it has 'question', 'answers', "
            r"'answers\[0\]'",
        ),
        (
            {"question": "q", "answer": "1"},
            {"id_column": "extra.index"},
            r"no column 'extra.index' .* problem.id_column",
        ),
        ({"question": "q", "a": {"b": None}}, {"answer_column": "a.b"}, r"column 'a.b' is empty \(null\)"),
    ],
)
def test_an_error_names_the_row_the_column_what_was_found_and_the_setting(
    tmp_path: Path, row: dict[str, Any], names: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, row, **names)
    assert "\n" not in str(caught.value)


def test_the_first_of_several_answers_is_the_gold_one(tmp_path: Path) -> None:
    assert read(tmp_path, {"question": "q", "answer": ["Paris", "paris", "Paris", 7]}).accepted == (
        "Paris",
        "paris",
        "7",
    )
    made = read(tmp_path, {"question": "q", "answer": ["Paris"]})
    assert (made.answer, made.metadata) == ("Paris", {})


@pytest.mark.parametrize("aliases", [["NYC", 1], '["NYC", 1]'])
def test_other_accepted_answers_may_have_a_column_of_their_own(tmp_path: Path, aliases: Any) -> None:
    row = {"question": "q", "answer": {"value": "New York", "aliases": aliases}}
    names = {"answer_column": "answer.value", "aliases_column": "answer.aliases"}
    assert read(tmp_path, row, **names).accepted == ("New York", "NYC", "1")
    for nothing in (None, "", []):
        row["answer"]["aliases"] = nothing
        assert read(tmp_path, row, **names).accepted == ("New York",)
    row["answer"]["aliases"] = "NYC; the Big Apple"
    with pytest.raises(
        InputError, match=r"column 'answer.aliases' holds the text 'NYC; .*'; other accepted answers are a"
    ):
        read(tmp_path, row, **names)
    with pytest.raises(InputError, match=r"no column 'aliases'; .*: set problem.answer_aliases_column to one"):
        read(tmp_path, row, answer_column="answer.value", aliases_column="aliases")


def test_a_column_called_as_our_own_metadata_is_not_taken_for_it(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a", "turns": 3, "aliases": "abc", "kept": 1}
    made = read(tmp_path, row, keep_columns=True)
    assert (made.metadata, made.accepted, made.turns) == ({"kept": 1}, ("a",), ())
