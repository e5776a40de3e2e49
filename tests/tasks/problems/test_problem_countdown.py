"""Countdown: questions that can be solved, and expressions that are read and never run."""

from __future__ import annotations

import itertools
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tasks.verifiers.nasty import long_texts, short_texts
from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.countdown_data import TooHard, solve
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.types import FULL, Example

EXAMPLE = Example("a", "Reach 39 with 3, 7 and 18.", "3 * 7 + 18", {"numbers": [3, 7, 18], "target": 39})


def problem(**options: Any) -> Problem:
    return load_problem(ProblemConfig(name="countdown", options=options))


@pytest.mark.parametrize("options", [{}, {"numbers": 2}, {"numbers": 6, "largest": 100, "largest_target": 999}])
def test_every_question_is_solved_by_its_gold_answer(options: dict[str, int]) -> None:
    made = problem(**options)
    examples = made.examples(100, seed=3)
    assert len({example.id for example in examples}) == 100
    assert examples[:10] == made.examples(10, seed=3)
    for example in examples:
        answer = made.extract(example.answer, example)
        assert answer is not None
        assert made.score(answer, example) == FULL
        assert str(example.metadata["target"]) in example.question
        written = sorted(map(int, re.findall(r"\d+", example.answer)))
        assert written == sorted(example.metadata["numbers"])


def test_questions_of_a_seed_stay_what_they_are() -> None:
    # Known answer: a change here changes the questions of every saved run.
    [first] = problem().examples(1, seed=0)
    assert (first.question, first.answer) == KNOWN


KNOWN = (
    "Reach 10 with the numbers 5, 18 and 3. Use +, -, * and /, and each number at most once.",
    "(18 - 3) - 5",
)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("<answer>3 * 7 + 18</answer>", "39 valid"),
        ("3 * 7 = 21, and 18 more.\n<answer>18 + 3*7 = 39</answer>", "39 valid"),
        ("<answer>39 = 18 + 3*7</answer>", "39 valid"),
        (r"\boxed{3 \times 7 + 18}", "39 valid"),
        (r"$18 + 7 \cdot 3 = 39$", "39 valid"),
        ("#### (3 × 7) + 18", "39 valid"),
        ("The answer is 3 * 7 + 18.", "39 valid"),
        ("We can write (3 * 7) + 18 = 39.", "39 valid"),
        ("**3 * 7 + 18**", "39 valid"),
        ("18 / (7 - 3)", "9/2 valid"),
        ("<answer>18 + 18 + 3</answer>", "39 invalid"),
        ("<answer>40 - 1</answer>", "39 invalid"),
        ("<answer>39</answer>", "39 invalid"),
        ("<answer>3 * 7 + 18 = 40</answer>", "39 valid"),
        ("3 * 7 = 21 + 18 = 39", None),
        ("<answer>3 7 18</answer>", None),
        ("<answer>7 / (3 - 3)</answer>", None),
        ("<answer>3 ** 7</answer>", None),
        ("<answer>3**7</answer>", None),
        ("<answer>3^7</answer>", None),
        ("<answer>__import__('os')</answer>", None),
        ("<answer>sqrt(9) * 13</answer>", None),
        ("<answer>3 * x + 18</answer>", None),
        ("<answer>3 * 7 + 18 or 7 + 3</answer>", None),
        ("<answer></answer>", None),
        ("I cannot.", None),
        ("", None),
    ],
)
def test_what_a_reply_comes_to(reply: str, answer: str | None) -> None:
    made = problem()
    assert made.extract(reply, EXAMPLE) == answer
    assert (made.score(answer or "", EXAMPLE) == FULL) == (answer == "39 valid")


def test_no_text_raises_or_is_right_by_accident() -> None:
    made = problem()
    for text in (*short_texts(2_000), *long_texts(1_000_000)):
        answer = made.extract(text, EXAMPLE)
        assert answer is None or not made.score(answer, EXAMPLE)


@given(st.text(alphabet="0123456789+-*/()= .x\n", max_size=60))
def test_what_is_read_is_a_value_and_a_word(text: str) -> None:
    answer = problem().extract(text, EXAMPLE)
    assert answer is None or re.fullmatch(r"-?\d+(/\d+)? (in)?valid", answer)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"numbers": 1}, "problem.options.numbers is 1; it must be a whole number from 2 to 8"),
        ({"count": 3}, "problem.options has 'count'; countdown takes numbers, largest and largest_target"),
        ({"largest": True}, "problem.options.largest is True"),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        problem(**options)


def test_options_that_make_too_few_questions_are_named() -> None:
    with pytest.raises(InputError, match=r"make about \d+ distinct questions, 5000 are needed"):
        problem(numbers=2, largest=8, largest_target=12).examples(5000, seed=0)


def of_data(tmp_path: Path, *rows: Any, **fields: Any) -> Problem:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_problem(ProblemConfig(name="countdown", path=str(path), **fields))


ROWS = [
    {"nums": [44, 19, 35], "target": 98},
    {"nums": [3, 3, 8, 8], "target": 24},
    {"nums": [7, 2], "target": 14},
    {"nums": [7, 2], "target": 14},
    {"nums": [5, 9, 100, 3, 2, 1], "target": 100},
]


def test_rows_of_data_are_questions_that_are_solved(tmp_path: Path) -> None:
    made = of_data(tmp_path, *ROWS)
    examples = made.examples(10, seed=1)
    assert len(examples) == 4
    assert made.examples(2, seed=1) == examples[:2]
    assert made.test_examples() is None
    asked = {each.metadata["target"]: each for each in examples}
    like_a_generated_one = "Reach {} with the numbers {}. Use +, -, * and /, and each number at most once."
    assert asked[98].question == like_a_generated_one.format(98, "44, 19 and 35")
    assert KNOWN[0] == like_a_generated_one.format(10, "5, 18 and 3")
    for example in examples:
        assert (answer := made.extract(example.answer, example)) is not None
        assert made.score(answer, example) == FULL
    assert (asked[24].answer, asked[100].answer) == ("3 * 8", "<answer>100</answer>")
    # A number counts as often as it is given.
    assert made.extract("<answer>3 * 8</answer>", asked[24]) == "24 valid"
    assert made.extract("<answer>3 * 8 * 3 / 3</answer>", asked[24]) == "24 invalid"


def test_data_is_found_by_columns_of_either_name_and_in_tables(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text('id,numbers,target\nfirst,"[44, 19, 35]",98\nsecond,"[7, 2]",14\n')
    [one, two] = load_problem(ProblemConfig(name="countdown", path=str(table), id_column="id")).examples(2, seed=0)
    assert {one.id, two.id} == {"first", "second"}
    assert {*one.metadata["numbers"], *two.metadata["numbers"]} == {44, 19, 35, 7, 2}


def test_a_hugging_face_data_set_gives_its_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "set" / "data"
    folder.mkdir(parents=True)
    frame = pl.DataFrame({"target": [98, 24], "nums": [[44, 19, 35], [3, 8]]})
    frame.write_parquet(folder / "train-00000-of-00001.parquet")
    [one, two] = load_problem(ProblemConfig(name="countdown", path=f"hf:{folder.parent}")).examples(2, seed=0)
    assert {one.metadata["target"], two.metadata["target"]} == {98, 24}


def test_official_rows_are_the_test_split_and_no_others(tmp_path: Path) -> None:
    official = tmp_path / "test.jsonl"
    official.write_text(json.dumps(ROWS[0]) + "\n")
    made = of_data(tmp_path, *ROWS, test_path=str(official))
    assert [each.metadata["target"] for each in made.test_examples() or []] == [98]
    splits = draw_splits(made, selection=2, validation=1, test=1, seed=0)
    assert [each.metadata["target"] for each in splits.test.examples] == [98]


def test_the_data_is_in_the_identity_by_its_splits_alone(tmp_path: Path) -> None:
    assert of_data(tmp_path, *ROWS).identity() == of_data(tmp_path, *ROWS[:2]).identity() != problem().identity()
    assert "numbers" not in of_data(tmp_path, *ROWS).identity()
    assert of_data(tmp_path, *ROWS).judgement() == problem().judgement()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"nums": [2, 2], "target": 99}, "line 1: 99 cannot be reached with 2, 2; take the row out"),
        ({"target": 9}, "line 1: no column 'nums' or 'numbers'; it has 'target'"),
        ({"nums": [2, 3]}, "line 1: no column 'target'; it has 'nums'"),
        ({"nums": [2], "target": 2}, "column 'nums' holds a list of 1; it must be a list of 2 to 8 numbers"),
        ({"nums": "2 3", "target": 5}, "column 'nums' holds the text '2 3'; it must be a list"),
        ({"nums": [2, 0], "target": 5}, "column 'nums' holds 0; it must hold whole numbers from 1 to 1,000,000"),
        ({"nums": [2, True], "target": 5}, "column 'nums' holds True; it must hold whole numbers"),
        ({"nums": [2, 3], "target": 2.5}, "column 'target' holds 2.5; it must hold whole numbers from 0"),
        ({"nums": [2, 3], "target": "x"}, "column 'target' holds 'x'"),
    ],
)
def test_a_row_that_cannot_be_asked_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        of_data(tmp_path, row).examples(1, seed=0)


def test_a_search_ends() -> None:
    assert solve((1, 1, 1, 1), 10**6) is None
    with pytest.raises(TooHard):
        solve((997, 991, 983, 977, 971, 967, 953, 947), 999_983)


def reachable(values: tuple[Fraction, ...]) -> set[Fraction]:
    """All that can be made of some of the values, in the plainest way."""
    found = set(values)
    for one, other in itertools.permutations(range(len(values)), 2):
        a, b = values[one], values[other]
        rest = tuple(value for place, value in enumerate(values) if place not in (one, other))
        for made in (a + b, a - b, a * b, *([a / b] if b else [])):
            found |= reachable((made, *rest))
    return found


@given(st.lists(st.integers(1, 20), min_size=2, max_size=3), st.integers(0, 60))
def test_what_can_be_reached_is_solved_and_nothing_else(numbers: list[int], target: int) -> None:
    found = solve(tuple(numbers), target)
    assert (found is not None) == (target in reachable(tuple(map(Fraction, numbers))))
    if found is not None:
        example = Example("a", "", "", {"numbers": numbers, "target": target})
        assert problem().extract(found if "<" in found else f"<answer>{found}</answer>", example) == f"{target} valid"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"path": "a.csv", "options": {"numbers": 4}},
            r"problem\.options has 'numbers', but countdown reads its questions",
        ),
        ({"test_path": "a.csv"}, r"problem\.test_path is 'a\.csv', but problem\.path is missing"),
        ({"path": "a.csv", "verifier": "math"}, r"problem\.verifier is 'math', but countdown takes none"),
    ],
)
def test_data_and_options_do_not_go_together(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ProblemConfig(name="countdown", **fields)
