"""Short answers: articles, case, punctuation and spaces count nothing; a sentence abstains."""

from __future__ import annotations

import pytest

from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.short import SHORT, short_answer

SENTENCE = "I see a boy who holds a kite on the green lawn there"


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("kite", "kite"),
        ("A kite.", "kite"),
        ("  The  Kite !", "kite"),
        ("**Kite**", "kite"),
        ("traffic-light", "traffic light"),
        ("a traffic light", "traffic light"),
        ("It's red", "its red"),
        ("It’s red", "its red"),
        ("3.5", "3.5"),
        ("1,000", "1000"),
        ("U.S.", "u s"),
        ("The answer is: a kite.", "kite"),
        ("<answer>the kite</answer> is what he holds", "kite"),
        (r"\boxed{kite}", "kite"),
        ("A", "a"),
        ("The man in the boat", "man in boat"),
        ("yes", "yes"),
        ("Äpfel", "äpfel"),
    ],
)
def test_a_reply_has_one_form(reply: str, found: str) -> None:
    assert short_answer(reply) == found
    assert short_answer(found) == found  # its own answer, judged again


@pytest.mark.parametrize("reply", ["", "...", " ?! ", "\ud800", SENTENCE, "<answer></answer>"])
def test_what_is_no_short_answer_abstains(reply: str) -> None:
    assert short_answer(reply) is None


def test_only_the_gold_answer_is_right() -> None:
    example = Example("1", "What is the boy holding?", "The kite")
    assert SHORT.gold(example) == "kite"
    assert SHORT.score("kite", example) == FULL
    assert SHORT.score("kites", example) == SHORT.score("red kite", example) == 0
    assert SHORT.lenient("He is holding a kite on the green lawn beside the old white house.", example)
    assert SHORT.gold(Example("1", "?", "...")) is None
