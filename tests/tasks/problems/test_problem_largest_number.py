"""The generated problem: distinct questions, right answers, no endless loop."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.largest_number import LargestNumber


def problem(**options: Any) -> LargestNumber:
    return LargestNumber(ProblemConfig(name="largest_number", options=options))


@given(st.integers(2, 5), st.integers(0, 30), st.integers(0, 2**64 - 1))
def test_numbers_are_distinct_below_the_limit_and_the_gold_answer_is_the_largest(
    count: int, more: int, seed: int
) -> None:
    made = problem(count=count, below=count + more)
    (example,) = made.examples(1, seed)
    listed = [int(number) for number in example.question.split(": ")[1].rstrip("?").replace(" or ", ", ").split(", ")]
    assert len(set(listed)) == count
    assert min(listed) >= 0
    assert max(listed) < count + more
    assert example.answer == str(max(listed))


def test_gold_answers_score_one_and_wrong_ones_nothing() -> None:
    made = problem()
    for example in made.examples(200, seed=0):
        answer = made.extract(example.answer, example)
        assert answer is not None
        assert made.score(answer, example)
        assert not made.score(str(int(example.answer) + 1), example)


def test_the_last_number_of_the_reply_counts() -> None:
    made = problem()
    (example,) = made.examples(1, seed=0)
    assert made.extract("Of 164, 341 and 27 the largest is 341.", example) == "341"
    assert made.extract("I do not know", example) is None


def test_every_question_there_is_can_be_made_and_not_one_more() -> None:
    made = problem(count=3, below=5)
    assert len({example.question for example in made.examples(60, seed=1)}) == 60
    with pytest.raises(InputError, match=r"make only 60 distinct questions, 61 are needed: 1 are missing"):
        made.examples(61, seed=1)


def test_questions_depend_on_the_seed_alone() -> None:
    made = problem()
    assert made.examples(50, seed=7) == made.examples(50, seed=7)
    assert made.examples(50, seed=7)[:10] == made.examples(10, seed=7)
    assert not {e.id for e in made.examples(50, seed=7)} & {e.id for e in made.examples(50, seed=8)}
    # Known answer: a change here changes the questions of every saved run.
    assert made.examples(1, seed=0)[0].question == "Which is the largest number: 380, 444 or 185?"


def test_the_prompt_is_the_default_or_the_users_own() -> None:
    made = load_problem(ProblemConfig(name="largest_number"))
    (example,) = made.examples(1, seed=0)
    assert made.messages(example) == [{"role": "user", "content": f"{example.question} Reply with just the number."}]
    own = load_problem(ProblemConfig(name="largest_number", system="Be brief.", instruction="Q: {question} {x}"))
    assert [message["content"] for message in own.messages(example)] == ["Be brief.", f"Q: {example.question} {{x}}"]
    assert own.identity() != made.identity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"counts": 3}, r"problem.options has 'counts'; largest_number takes count and below"),
        ({"count": 1}, r"problem.options.count is 1; it must be a whole number of at least 2"),
        ({"count": True}, r"problem.options.count is True"),
        ({"count": "3"}, r"problem.options.count is '3'"),
        ({"count": 5, "below": 4}, r"problem.options.below is 4; it must be a whole number of at least 5"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        problem(**options)


def test_another_verifier_judges_the_same_questions() -> None:
    own, math = (problem(), load_problem(ProblemConfig(name="largest_number", verifier="math")))
    [example], [again] = own.examples(1, seed=0), math.examples(1, seed=0)
    assert (example, own.messages(example)) == (again, math.messages(again))
    assert own.judgement() != math.judgement()
    answer = math.extract(rf"\boxed{{\frac{{{2 * int(example.answer)}}}{{2}}}}", example)
    assert answer == example.answer
    assert math.score(answer, example) == 1000
    with pytest.raises(InputError, match="'choice', which does not find the right numbers right"):
        load_problem(ProblemConfig(name="largest_number", verifier="choice")).examples(1, seed=0)
