"""Texts against references: known values, what has no answer, and that every gold answer proves itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.tasks.types import Example
from thickets.tasks.verifiers.similarity import similarity_verifier, text_answer
from thickets.tasks.verifiers.texts import PAIRS, SIMILARITY, words

# F-measures of rouge-score 0.1.2, without its stemmer: text, reference, rougeL, rouge1.
KNOWN = [
    ("Tom put the kite away and walked home.", "Tom walked home and put the kite away.", 0.625, 1.0),
    ("The dog found its ball.", "The dog finally found its red ball under the bed.", 0.666667, 0.666667),
    ("She was happy.", "She smiled all the way home.", 0.222222, 0.222222),
    ("It's a well-known fact: 3.5 % isn't much!", "it s a WELL known fact 3 5 isn t much", 1.0, 1.0),
    ("the the the the", "the cat sat on the mat", 0.4, 0.4),
    ("Ann laughed and laughed and laughed.", "Ann laughed.", 0.5, 0.5),
    ("Bananas.", "Nobody came to the party.", 0.0, 0.0),
]
texts = st.lists(st.sampled_from(["the", "cat", "Cat", "sat,", "on", "a", "mat.", "café"]), min_size=1, max_size=9).map(
    " ".join
)


def example(answer: str, *aliases: str) -> Example:
    return Example("e", "How does it end?", answer, {"aliases": list(aliases)} if aliases else {})


@pytest.mark.parametrize("case", range(len(KNOWN)))
def test_values_are_those_of_rouge_score(case: int) -> None:
    text, reference, *wanted = KNOWN[case]
    for name, value in zip(("rougeL", "rouge1"), wanted, strict=True):
        assert SIMILARITY[name](text, reference) == int(1000 * value + 1e-6)  # rounded down


def test_words_of_other_alphabets_are_whole_and_chinese_ones_single() -> None:
    assert words("Cafe\u0301 naïve_x, don’t") == ("café", "naïve", "x", "don", "t")
    assert words("数学だ3回") == ("数", "学", "だ", "3", "回")
    assert SIMILARITY["rougeL"]("caf", "café") == 0


@pytest.mark.parametrize("metric", sorted(PAIRS))
@given(found=st.lists(texts, min_size=1, max_size=5))
def test_all_pairs_at_once_are_the_pairs_one_by_one(metric: str, found: list[str]) -> None:
    one_by_one = [[SIMILARITY[metric](one, other) for other in found] for one in found]
    table = PAIRS[metric](found)
    assert table.tolist() == one_by_one
    assert np.array_equal(table, table.T)
    assert set(np.diag(table)) == {1000}


@pytest.mark.parametrize("metric", sorted(PAIRS))
def test_a_reply_is_graded_against_its_reference(metric: str) -> None:
    verifier, story = similarity_verifier(metric, 0.5), example("The dog found its ball.")

    def score(reply: str) -> int | None:
        answer = verifier.extract(reply, story)
        return None if answer is None else verifier.score(answer, story)

    assert verifier.gold(story) == "The dog found its ball."
    assert score(story.answer) == score("  the DOG\nfound its ball!! ") == 1000  # right
    assert score("The dog lost its ball.") == 800  # in part
    assert score("Nobody came.") == 0  # wrong
    for nothing in ("", " \n", "...", "—", "🎈", "_ _"):  # unanswered
        assert score(nothing) is None
    # Malformed: neither much text nor nonsense pays.
    assert score("the dog found its ball " * 2_000) == 0
    assert score("\0\x1b[31m dog \ud800") is not None
    assert verifier.accepts(verifier.extract("The dog lost its ball.", story), story)
    assert not verifier.accepts(verifier.extract("Nobody came.", story), story)


def test_the_nearest_of_several_references_counts() -> None:
    verifier, story = similarity_verifier("rougeL", 0.5), example("They went home.", "It rained all day.")
    assert verifier.score("It rained all day", story) == verifier.score("they went home", story) == 1000
    assert verifier.score("It rained", story) == 666


def test_a_reference_without_a_word_cannot_be_judged() -> None:
    verifier = similarity_verifier("rougeL", 0.5)
    assert verifier.gold(example("...")) is None
    assert verifier.gold(example("They went home.", "!")) is None


def test_what_counts_as_right_is_a_setting_and_judges_again() -> None:
    strict, mild = similarity_verifier("rougeL", 0.9), similarity_verifier("rougeL", 0.3)
    story: Any = example("The dog found its ball.")
    assert mild.accepts("The dog lost it.", story)
    assert not strict.accepts("The dog lost it.", story)
    assert strict.details != mild.details != similarity_verifier("rouge1", 0.3).details


def test_the_answer_is_the_reply_on_one_line() -> None:
    assert text_answer(" It rained.\n\nThey\twent home. ") == "It rained. They went home."
