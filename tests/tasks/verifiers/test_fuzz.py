"""Whatever a model writes, a verifier neither raises nor hangs, and calls nothing right that is no answer."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import no_blow_up
from tests.tasks.verifiers.nasty import PIECES, long_texts, short_texts
from thickets.tasks.problems.gsm8k import VERIFIER as GSM8K
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers import CHOICE, EXACT, NUMERIC, Verifier, regex_verifier
from thickets.tasks.verifiers.marks import final_answer
from thickets.tasks.verifiers.short import SHORT
from thickets.tasks.verifiers.verifier import gold_of_all

# A second for the longest where time grows with the length; hours where it grows with its square.
LENGTHS = [6_000, *(pytest.param(length, marks=pytest.mark.slow) for length in (60_000, 1_000_000))]
FREE_FORM = Verifier(
    name="final_answer", instruction="", max_tokens=1, gold_rule="",
    extract=lambda text, _: final_answer(text), gold=gold_of_all(lambda text, _: final_answer(text)),
)  # fmt: skip
# Each with a question that it can judge and whose answer no nasty text holds.
QUESTIONS = {
    "numeric": (NUMERIC, "73519"),
    "gsm8k": (GSM8K, "#### 73519"),
    "choice": (CHOICE, "Q"),
    "exact": (EXACT, "Reykjavík"),
    "regex": (regex_verifier(r"answer is (\w+)"), "Reykjavik"),
    "short": (SHORT, "Reykjavík"),
    "final_answer": (FREE_FORM, "Reykjavík"),
}
if find_spec("thickets.tasks.verifiers.math") is not None:
    QUESTIONS["math"] = (importlib.import_module("thickets.tasks.verifiers.math").MATH, "\\frac{73519}{2}")
# Each reply of these takes a process of its own.
SLOW = {"math"}
VERIFIERS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in QUESTIONS]


def check(verifier: Verifier, example: Example, text: str) -> None:
    with no_blow_up():
        answer = verifier.extract(text, example)
        if answer is not None:
            assert answer
            assert verifier.score(answer, example) == 0
            answer.encode()  # a vote is written to a file
        verifier.lenient(text, example)
        if verifier.span is not None and (span := verifier.span(text, example)):
            assert 0 <= span[0] < span[1] <= len(text)


@pytest.mark.parametrize("name", VERIFIERS)
def test_ten_thousand_nasty_texts_are_no_answers(name: str) -> None:
    verifier, gold = QUESTIONS[name]
    example = Example("1", "Which?", gold)
    assert verifier.accepts(verifier.gold(example), example)
    for text in short_texts(500 if name in SLOW else 10_000):
        check(verifier, example, text)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", VERIFIERS)
def test_long_texts_take_time_that_grows_with_their_length(name: str, length: int) -> None:
    verifier, gold = QUESTIONS[name]
    example = Example("1", "Which?", gold)
    for text in long_texts(length):
        check(verifier, example, text)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)))
def test_any_text_is_read(text: str) -> None:
    for name, (verifier, gold) in QUESTIONS.items():
        if name not in SLOW:
            check(verifier, Example("1", text, gold), text)


@pytest.mark.parametrize("name", VERIFIERS)
def test_gold_answers_that_are_nasty_are_refused_or_right(name: str) -> None:
    verifier, _ = QUESTIONS[name]
    for text in short_texts(50 if name in SLOW else 2_000, seed=1):
        example = Example("1", "Which?", text)
        gold = verifier.gold(example)
        assert gold is None or verifier.score(gold, example) == FULL


NEAR = (
    "173519", "735190", "7351.9", "-73519", "–73519", "73519/2", "2/73519", "73519^2", "x^73519", "73519 million",
    "73519k",
    "12:73519", "not 73519", "73519-2", "2-73519", "73519, 2", "2 or 73519", "73519x", "x73519", "\\frac{73519}{2}",
    "\\sqrt{73519}", "73519½", "73519 1/2", "73.519", "73519?", "1,73519,2", "73519:1", "73519π", "73519 + 1",
    "1.73519",
)  # fmt: skip
FRAMES: tuple[Callable[[str], str], ...] = (
    str,
    "It is {}".format,
    "\\boxed{{{}}}".format,
    "#### {}".format,
    "<answer>{}</answer>".format,
    "The answer is {}.".format,
    "**{}**".format,
    "I get 73519. No.\nThe answer is {}".format,
    "so {}\n\n".format,
)


@pytest.mark.parametrize("verifier", [NUMERIC, GSM8K], ids=["numeric", "gsm8k"])
def test_a_near_miss_is_never_right(verifier: Verifier) -> None:
    example = Example("1", "Which?", "#### 73519")
    draw = random.Random(0)
    for near in NEAR:
        for frame in FRAMES:
            before = draw.choice(["", "First 12.\n", "73519 apples. "])
            text = before + frame(near)
            assert not verifier.accepts(verifier.extract(text, example), example), text
