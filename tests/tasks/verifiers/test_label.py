"""Labels in replies: right, wrong, unanswered and malformed ones."""

from __future__ import annotations

import pytest

from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.label import find_label, gold_label, label_verifier, named_labels

MOODS = ("negative", "positive", "neutral")

CASES = {
    "positive": "positive",
    " **Positive**.": "positive",
    "NEUTRAL!": "neutral",
    "“negative”": "negative",
    "Positive. The reviewer is not negative at all.": "positive",
    "The first lines sound negative.\n\nPositive": "positive",
    "The sentiment of this review is clearly negative, because of the end": "negative",
    "Sentiment: positive": "positive",
    "Label: neutral\n": "neutral",
    "\\boxed{Neutral}": "neutral",
    "<answer>negative</answer> rather than positive": "negative",
    "#### positive": "positive",
    "I would call this one positive, for its last words.": "positive",
    '{"mood": "positive"}': "positive",
    # No sure answer.
    "": None,
    "...": None,
    "It depends.": None,
    "The negativity is hard to miss": None,
    "positive or negative": None,
    "The answer is positive, not negative": None,
    "It is not positive": None,
    "Is it positive?": None,
    "Positive\nNegative\nNeutral": None,
    "Positive. Or so.\nNegative": None,
    "<answer>unclear</answer> I first thought positive": None,
    "\\boxed{}  positive": None,
    "positive" + " very" * 20_000 + " negative": "negative",  # the end counts
    "\ud800": None,
}


@pytest.mark.parametrize(("reply", "label"), list(CASES.items()), ids=range(len(CASES)))
def test_a_reply_gives_the_label_that_it_surely_means(reply: str, label: str | None) -> None:
    assert find_label(reply, MOODS) == label


def test_the_longer_of_two_labels_is_not_the_shorter_one() -> None:
    labels = ("toxic", "not toxic", "C++", "Sci/Tech")
    assert find_label("This is not toxic at all", labels) == "not toxic"
    assert find_label("This is toxic", labels) == "toxic"
    assert find_label("It is about C++ I think", labels) == "C++"
    assert find_label("Topic: sci/tech", labels) == "Sci/Tech"
    assert find_label("这是正面的评价", ("正面", "负面")) == "正面"


def test_a_gold_answer_is_a_label_or_its_number() -> None:
    assert gold_label("Positive", MOODS) == "positive"
    assert [gold_label(text, MOODS) for text in ("0", "2", "3", "-1", "2.0")] == [
        "negative",
        "neutral",
        None,
        None,
        None,
    ]
    assert [gold_label(text, ("1", "2")) for text in ("0", "1", "2")] == [None, "1", "2"]


def test_the_verifier_s_gold_answers_prove_themselves_and_others_are_wrong() -> None:
    verifier = label_verifier(lambda: MOODS)
    for place, label in enumerate(MOODS):
        for answer in (label, str(place)):
            example = Example("a", "text", answer)
            assert verifier.score(verifier.extract(f"Label: {label}", example) or "", example) == FULL
            assert verifier.score(MOODS[place - 1], example) == 0
    example = Example("a", "text", "positive")
    assert verifier.n_options(example) == 3
    assert verifier.span is not None
    assert verifier.span("It is Positive here", example) == (6, 14)
    assert verifier.lenient("positive, or negative", example) is None
    assert verifier.lenient("not positive", example) is True
    assert verifier.lenient("negative", example) is False
    assert named_labels("negative or neutral", MOODS) == {"negative", "neutral"}
