"""A question column may hold chat turns; the last user turn is the question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Source, read_rows
from thickets.tasks.types import Example, question_id

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = {"role": "user", "content": " 2 + 2? "}
SHOWN = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]


def read(folder: Path, *prompts: Any) -> list[Example]:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt, "answer": "4"}) + "\n" for prompt in prompts))
    return [row.example for row in read_rows(Source("problem.path", str(path), "train", None, "prompt", "answer"))]


@pytest.mark.parametrize("as_text", [False, True])
def test_turns_before_the_question_are_kept_and_are_part_of_its_id(tmp_path: Path, as_text: bool) -> None:
    prompts = [[ASKED], [SYSTEM, ASKED], [SYSTEM, *SHOWN, ASKED], [*SHOWN, ASKED]]
    examples = read(tmp_path, *(json.dumps(prompt) if as_text else prompt for prompt in prompts))
    assert [example.question for example in examples] == ["2 + 2?"] * 4
    assert [list(example.turns) for example in examples] == [prompt[:-1] for prompt in prompts]
    assert examples[0].id == question_id("2 + 2?")
    assert len({example.id for example in examples}) == 4


def test_parts_of_text_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Read:"}, {"type": "text", "text": "2 + 2?"}]
    [example] = read(tmp_path, [{"role": "user", "content": parts, "tool_calls": None, "name": "me"}])
    assert example.question == "Read:\n2 + 2?"


def test_text_about_json_stays_text(tmp_path: Path) -> None:
    text = 'What does [{"role": "user"}] mean?'
    [example] = read(tmp_path, text)
    assert (example.question, "turns" in example.metadata) == (text, False)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            [ASKED, {"role": "assistant", "content": "4"}],
            r"column 'prompt' ends in a turn of the assistant's, .*problem.question_column to prompt\[:-1\] and "
            r"problem.answer_column to prompt\[-1\].content",
        ),
        ([SYSTEM], r"has a system turn and no user turn"),
        ([ASKED, SYSTEM, ASKED], r"turn 2 of column 'prompt' is the system's; only the first may be"),
        ([{"role": "tool", "content": "x"}, ASKED], r"turn 1 of column 'prompt' is of role 'tool'; allowed are system"),
        ([{"from": "human", "value": "x"}], r"turn 1 of column 'prompt' has 'from', 'value'; a turn is "),
        ([{"role": "user", "content": "  "}], r"turn 1 of column 'prompt' is empty"),
        ([{"role": "user", "content": None}], r"turn 1 of column 'prompt' is empty"),
        ([{"role": "user", "content": {"a": 1}}], r"turn 1 .* holds an object with 'a' as content; it must be text"),
        ([{"role": "user", "content": "\ud800"}], r"turn 1 of column 'prompt' is not text"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url"}]}],
            r"line 1: turn 1 of column 'prompt' holds a part of type 'image_url'; only text can be asked",
        ),
        ([{"role": "assistant", "content": "x", "tool_calls": [{"id": 1}]}, ASKED], r"turn 1 .* calls tools"),
        ([], r"column 'prompt' holds an empty list; it must be text"),
        (["a"], r"column 'prompt' holds a list of 1; .* name one inside it: problem.question_column: prompt\[0\]"),
    ],
)
def test_turns_that_ask_nothing_or_more_than_text_are_refused(tmp_path: Path, prompt: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, prompt)
    assert "\n" not in str(caught.value)


def test_text_and_turns_in_one_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: column 'prompt' holds chat turns, and text in line 1"):
        read(tmp_path, "1 + 1?", [ASKED])
