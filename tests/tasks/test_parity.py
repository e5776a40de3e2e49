from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.storage_samples import ROW_SCHEMA
from thickets.storage.errors import RunError
from thickets.tasks.engines.parity import Parity, compare, parting

QUESTIONS = {f"q{i}": (f"question {i}?", str(i)) for i in range(4)}


def frame(who: str, *answers: tuple[str, str | None, bool]) -> pl.DataFrame:
    """One candidate's (completion, answer, correct) on q0, q1, ..."""
    return pl.DataFrame(
        {
            "candidate_id": [who] * len(answers),
            "split": ["selection"] * len(answers),
            "block": [0] * len(answers),
            "example_id": [f"q{i}" for i in range(len(answers))],
            "correct": [correct for *_, correct in answers],
            "answer": [answer for _, answer, _ in answers],
            "n_tokens": [3] * len(answers),
            "finish_reason": ["stop"] * len(answers),
            "completion": [completion for completion, *_ in answers],
        },
        schema=ROW_SCHEMA,
    )


A = pl.concat(
    [
        frame("base", ("is 0", "0", True), ("is 1", "1", True), ("none", None, False), ("is 3", "3", True)),
        frame("c1", ("is 0", "0", True), ("is 9", "9", False), ("is 2", "2", True), ("none", None, False)),
    ]
)
B = pl.concat(
    [
        # another text with the same answer; another answer; both abstain; the same
        frame("base", ("it is 0", "0", True), ("is 7", "7", False), ("nope", None, False), ("is 3", "3", True)),
        # the same; another answer, now right; an abstention; an answer where there was none
        frame("c1", ("is 0", "0", True), ("is 1", "1", True), ("is 2", None, False), ("none 3", "3", True)),
    ]
)


def test_texts_answers_and_scores_are_counted_per_candidate() -> None:
    found = compare(A, B, QUESTIONS)
    base, c1 = found.candidates
    assert (base.candidate_id, c1.candidate_id) == ("base", "c1")
    assert (base.n, base.n_same_text, base.n_same_answer) == (4, 1, 3)
    assert (c1.n, c1.n_same_text, c1.n_same_answer) == (4, 2, 1)
    assert (base.n_correct_a, base.n_correct_b, base.difference) == (3, 2, -0.25)
    assert (c1.n_correct_a, c1.n_correct_b, c1.score_a, c1.score_b, c1.difference) == (2, 3, 0.5, 0.75, 0.25)


def test_the_total_is_over_pairs_and_differences_do_not_cancel() -> None:
    found = compare(A, B, QUESTIONS)
    assert (found.n, found.n_same_text, found.n_same_answer) == (8, 3, 4)
    assert (found.share_same_text, found.share_same_answer) == (3 / 8, 0.5)
    assert (found.mean_abs_difference, found.max_abs_difference) == (0.25, 0.25)


def test_the_largest_difference_is_the_largest_and_the_mean_the_mean() -> None:
    all_wrong = frame("base", *[("x", None, False)] * 4)
    found = compare(A, pl.concat([all_wrong, A.filter(pl.col("candidate_id") == "c1")]), QUESTIONS)
    assert (found.mean_abs_difference, found.max_abs_difference) == (0.375, 0.75)


def test_two_equal_engines_differ_nowhere() -> None:
    found = compare(A, A, QUESTIONS)
    assert (found.share_same_text, found.share_same_answer, found.max_abs_difference) == (1.0, 1.0, 0.0)
    assert found.divergences == ()


def test_the_order_of_the_second_does_not_matter() -> None:
    assert compare(A, B.reverse(), QUESTIONS) == compare(A, B, QUESTIONS)


def shown(found: Parity) -> list[tuple[str, str]]:
    return [(difference.candidate_id, difference.example_id) for difference in found.divergences]


def test_other_answers_are_shown_before_other_words_and_every_candidate_before_a_second_of_one() -> None:
    everything = [("base", "q1"), ("c1", "q1"), ("c1", "q2"), ("c1", "q3"), ("base", "q0"), ("base", "q2")]
    assert shown(compare(A, B, QUESTIONS, n_shown=100)) == everything
    assert shown(compare(A, B, QUESTIONS, n_shown=3)) == everything[:3]
    assert shown(compare(A, B, QUESTIONS, n_shown=0)) == []


def test_a_divergence_says_who_what_and_where() -> None:
    found = compare(A, B, QUESTIONS).divergences[0]
    assert (found.question, found.gold, found.position) == ("question 1?", "1", 3)
    assert (found.completion_a, found.answer_a, found.correct_a) == ("is 1", "1", True)
    assert (found.completion_b, found.answer_b, found.correct_b) == ("is 7", "7", False)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (A, B.head(7)),
        (A.head(7), B),
        (A, B.with_columns(candidate_id=pl.lit("base") + pl.col("candidate_id"))),
        (A.head(0), B.head(0)),
    ],
    ids=["fewer in B", "fewer in A", "other candidates", "nothing"],
)
def test_what_cannot_be_compared_is_refused(a: pl.DataFrame, b: pl.DataFrame) -> None:
    with pytest.raises(RunError, match=r"^parity: engine A has \d answers and engine B \d"):
        compare(a, b, QUESTIONS)


@given(st.text("ab"), st.text("ab"))
def test_two_texts_part_after_what_they_have_in_common(one: str, other: str) -> None:
    position = parting(one, other)
    assert one[:position] == other[:position]
    assert one[position : position + 1] != other[position : position + 1] or one == other
    assert position <= min(len(one), len(other))
