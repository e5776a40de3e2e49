"""Countdown: questions that can be solved, and expressions that are read and never run."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.verifiers.nasty import long_texts, short_texts
from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import Problem
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
