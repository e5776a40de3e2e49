"""A second, lenient look at wrong replies: is the right answer in them at all?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.gsm8k import SAMPLE, VERIFIER
from thickets.tasks.types import Example
from thickets.tasks.verifiers.choice import named_letters
from thickets.tasks.verifiers.lenient import lenient_match, mentions


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("It is 1,234.50 dollars.", "1234.5", True),
        ("It is 12345.", "1234.5", False),
        ("x = -3", "3", False),
        ("from 13 to 17", "3", False),
        ("from 13 to 17", "17", True),
        ("13-17 of them", "17", True),
        ("13-17 of them", "-17", False),
        ("3 or 4?", "4", True),
        ("The capital is\n  SAN   Francisco!", "San Francisco.", True),
        ("a train", "rain", False),
        ("the train's late", "train", True),
        ("half: 1/2 of it", "1/2", True),
        ("11/2", "1/2", False),
        ("5 apples", "5 apples", True),
        ("5 pears", "5 apples", False),
        ("anything", "...", False),
    ],
)
def test_an_answer_is_found_as_a_whole(text: str, answer: str, found: bool) -> None:
    assert mentions(text, answer) == found


@settings(deadline=None)
@given(st.integers(-(10**6), 10**6), st.text(alphabet="abc xyz.,!\n", max_size=20), st.text(max_size=20))
def test_a_number_is_found_whatever_stands_around_it(number: int, before: str, after: str) -> None:
    assert mentions(f"{before} {number} | {after}", str(number))


def test_a_question_that_names_the_answer_makes_a_repetition_prove_nothing() -> None:
    question = "Which is the largest number: 164, 341 or 27?"
    assert lenient_match("It is 341, I think; 1 answer.", "341", question) is True
    assert lenient_match("164, 341, 27", "341", question) is None
    assert lenient_match("27", "341", question) is False
    assert lenient_match("Yes, I would say yes.", "yes", "Is it so, yes or no?") is None
    assert lenient_match("So 42 it is. Or 43.", "42", "What is 40 + 2?") is True


def verifier(name: str, pattern: str | None = None):
    return make_verifier(ProblemConfig(name="file", path="unused.csv", verifier=name, pattern=pattern))


def test_every_verifier_finds_an_answer_in_the_wrong_form() -> None:
    jars = Example("1", "4 rows of 6 jars?", "24")
    assert verifier("numeric").extract("24 jars, in 4 rows", jars) == "4"
    assert verifier("numeric").lenient("24 jars, in 4 rows", jars) is True
    assert verifier("exact").lenient("I count 24.", jars) is True
    assert verifier("exact").lenient("I count 23.", jars) is False
    assert verifier("regex", r"Answer: (\d+)").lenient("24", jars) is True
    assert VERIFIER.lenient("First 3*8 = 24 rolls, so 19. That took 2 steps.", SAMPLE) is True
    assert VERIFIER.lenient("21", SAMPLE) is False


def test_any_accepted_answer_will_do() -> None:
    question = Example("1", "Which?", "Paris", {"aliases": ["Lutetia"]})
    assert verifier("exact").lenient("I think it is Lutetia", question) is True
    assert verifier("exact").lenient("I think it is Rome", question) is False
    letter = Example("1", "Which?", "B", {"aliases": ["C"]})
    assert verifier("choice").lenient("(C) or (B)", letter) is True
    assert verifier("choice").lenient("(C) or (A)", letter) is None


def test_a_choice_counts_if_no_other_letter_is_named() -> None:
    question = Example("1", "Which? (A) a train (B) a boat", "B")
    judge = verifier("choice")
    assert judge.lenient("(B) or (A)", question) is None
    assert judge.lenient("(B) it is", question) is True
    assert judge.lenient("A. a train", question) is False
    assert named_letters("b") == {"B"}
    assert named_letters("A train leaves") == set()


def test_the_users_own_verifier_is_not_second_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_judge_module.py").write_text("def judge(text, example):\n    return text or None, bool(text)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert verifier("own_judge_module:judge").lenient("24", Example("1", "?", "24")) is None


@pytest.mark.parametrize("name", ["largest_number", "reasoning_gym:chain_sum", "reasoning_gym:letter_counting"])
def test_generated_problems_tell_a_right_answer_from_a_wrong_one(name: str) -> None:
    problem = load_problem(ProblemConfig(name=name))
    for example in problem.examples(5, seed=1):
        assert problem.lenient(f"{example.answer} it is", example) in (True, None)
        assert problem.lenient("no idea", example) is False


def test_another_right_answer_cannot_be_ruled_out_where_there_are_many() -> None:
    problem = load_problem(ProblemConfig(name="reasoning_gym:countdown"))
    [example] = problem.examples(1, seed=1)
    assert problem.lenient("no idea", example) is None
    assert problem.lenient(f"It is {example.answer}", example) is True
