"""The verifiers of file problems: gold answers score 1.0, near misses do not, nothing in a reply breaks them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import no_blow_up
from thickets.tasks.problems import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.types import Example
from thickets.tasks.verifiers import CHOICE, EXACT, NUMERIC, Verifier
from thickets.tasks.verifiers.choice import choice_letter


def verifier(name: str, pattern: str | None = None) -> Verifier:
    return make_verifier(ProblemConfig(name="file", path="unused.csv", verifier=name, pattern=pattern))


def example(answer: str, **metadata: object) -> Example:
    return Example("id", "question", answer, metadata)


def right(judge: Verifier, reply: str, gold: Example) -> bool:
    answer = judge.extract(reply, gold)
    return answer is not None and judge.score(answer, gold)


def test_exact_ignores_case_space_and_the_full_stop() -> None:
    assert right(EXACT, " paris.\n", example("Paris"))
    assert not right(EXACT, "Paris, France", example("Paris"))
    assert not right(EXACT, "...", example("Paris"))


@given(st.text(min_size=1))
def test_exact_accepts_every_gold_answer_it_can_judge(answer: str) -> None:
    assert EXACT.gold(example(answer)) is None or right(EXACT, answer, example(answer))


def test_numeric_compares_the_last_number_by_value() -> None:
    assert right(NUMERIC, "2 jars at $617.25 make $1,234.50.", example("1234.5"))
    assert right(NUMERIC, "1.2345e3", example("1,234.50"))
    assert not right(NUMERIC, "1234.5000001", example("1234.5"))
    assert not right(NUMERIC, "none", example("1234.5"))


@pytest.mark.parametrize("answer", ["twelve", "1/2/3", "3 or 4", "10-12", "5!", "(5)", "2x", ""])
def test_numeric_gold_answers_are_one_number(answer: str) -> None:
    assert NUMERIC.gold(example(answer)) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_numeric_accepts_every_gold_number(value: object) -> None:
    assert right(NUMERIC, f"so it is {value}", example(str(value)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B", "B"),
        ("b", "B"),
        (" (b) ", "B"),
        ("**B**", "B"),
        ("B.", "B"),
        ("B. Paris", "B"),
        ("B) Paris", "B"),
        ("(B) Paris, since (A) is in Spain", "B"),
        ("**C** Rome", "C"),
        ("The answer is B", "B"),
        ("The answer is A because trains run on rails", "A"),
        ("the answer is (c).", "C"),
        ("Answer: **D**", "D"),
        ("answer is A. No: the correct answer is option C.", "C"),
        (r"so \boxed{E}", "E"),
        ("(A) is wrong, so (C) is right", "C"),
        ("I would choose D", "D"),
        ("Only A fits", None),  # a capital A before a word in small letters is read as an article
        ("It must be A", "A"),
        ("A train leaves at noon", None),
        ("The answer is a train", None),
        ("A's turn", None),
        ("BAD CAFE", None),
        ("42", None),
        ("", None),
    ],
)
def test_choice_takes_the_letter_a_reply_settles_on(text: str, expected: str | None) -> None:
    assert choice_letter(text) == expected


@given(st.sampled_from("ABCDE"), st.sampled_from(["{}", "({})", "{}.", "The answer is {}.", "{}: the north", "**{}**"]))
def test_choice_accepts_gold_letters_in_every_form(letter: str, form: str) -> None:
    assert right(CHOICE, form.format(letter), example(letter))
    assert right(CHOICE, form.format(letter), example(f"({letter.lower()})"))


@given(st.text())
def test_choice_reads_any_text(text: str) -> None:
    assert choice_letter(text) in {*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", None}


def test_choice_gold_is_a_letter() -> None:
    assert CHOICE.gold(example("Paris")) is None


def test_regex_takes_group_one_of_the_last_match() -> None:
    judge = verifier("regex", r"Answer: (\w+)")
    assert right(judge, "Answer: no. Wait. Answer: Yes", example("yes"))
    assert right(judge, "Answer: Yes", example("Answer: yes"))
    assert not right(judge, "yes", example("yes"))
    assert right(verifier("regex", r"\d{3}"), "code 123, then 456", example("456"))


def test_regex_reads_only_the_end_of_an_endless_reply() -> None:
    judge = verifier("regex", r"(\d+)")
    assert judge.extract("1 " + "x" * 10_000, example("1")) is None
    assert judge.extract("x" * 1_000_000 + " 2", example("2")) == "2"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$"])
def test_a_pattern_that_would_never_end_abstains(pattern: str, caplog: pytest.LogCaptureFixture) -> None:
    judge = verifier("regex", pattern)
    with caplog.at_level(logging.WARNING, logger="thickets"), no_blow_up():
        assert judge.extract("a" * 4_000 + "c", example("a")) is None
    [line] = caplog.messages
    assert "regex: problem.pattern" in line
    assert "aaac'; it counts as not read" in line


def test_regex_details_enter_the_identity() -> None:
    assert verifier("regex", "a+").details != verifier("regex", "b+").details
