"""Texts vote by how close they are to each other: known winners, ties, weights, and counting as a special case."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.test_voting import answer_lists, ballots
from thickets.tasks.evaluation import closest
from thickets.tasks.evaluation.voting import curve, tally, vote
from thickets.tasks.problems.consensus import MAJORITY, Consensus, consensus_of
from thickets.tasks.types import FULL

ROUGE = Consensus("rougeL")
NEAR, MIDDLE, FAR = "the dog ran home", "the dog ran home again", "a cat slept"
OTHER = "the dog ran away again"  # 3 words of NEAR in order, 4 of MIDDLE


def equal(texts: list[str]) -> np.ndarray:
    return FULL * (np.array(texts)[:, None] == np.array(texts)[None, :]).astype(np.int64)


def winner(answers: list[str | None], weights: list[int] | None = None, rule: str = "majority") -> str | None:
    return vote(ballots([[a] for a in answers], weights), len(answers), rule, ROUGE)["answer"][0]  # type: ignore[arg-type]


def test_the_answer_closest_to_all_others_wins_though_no_two_are_equal() -> None:
    assert winner([FAR, NEAR, OTHER, MIDDLE]) == MIDDLE
    found = vote(ballots([[FAR], [NEAR], [OTHER], [MIDDLE]], gold=MIDDLE), 4, consensus=ROUGE)
    # MIDDLE with FAR 0, with NEAR 2*4/9, with OTHER 2*4/10.
    assert found.row(0, named=True) == {
        "example_id": "e0", "answer": MIDDLE, "correct": True, "score": 1000, "votes": 888 + 800,
        "total": 3000, "n_abstain": 0, "similarity": (888 + 800) // 3,
    }  # fmt: skip


def test_ties_go_to_the_better_expert() -> None:
    assert winner([NEAR, MIDDLE]) == NEAR
    assert winner([MIDDLE, NEAR]) == MIDDLE
    assert winner([FAR, "nothing of this", "one more text"]) == FAR


def test_weights_are_those_of_the_others() -> None:
    far = f"{FAR} long"
    assert winner([FAR, NEAR, MIDDLE, far], [9, 1, 1, 9], "weighted") == FAR
    assert winner([FAR, NEAR, MIDDLE, far], [1, 9, 9, 1], "weighted") == NEAR
    # One's own does not count: whoever has most of them is not the answer for that.
    assert winner([FAR, NEAR, MIDDLE], [30, 10, 10], "weighted") == NEAR
    found = vote(ballots([[FAR], [NEAR], [MIDDLE]], [30, 1, 3]), 3, "weighted", ROUGE)
    # NEAR has 3 of 33 votes that are not its own for 0.888, MIDDLE 1 of 31.
    assert found.select("answer", "votes", "total", "similarity").row(0) == (NEAR, 3 * 888, 33_000, 3 * 888 // 33)


def test_votes_of_no_weight_leave_the_best_rank() -> None:
    assert winner([NEAR, FAR], [0, 0], "weighted") == NEAR
    assert winner([FAR, NEAR, MIDDLE], [0, 0, 5], "weighted") == NEAR  # MIDDLE has no others, FAR nothing of it


def test_abstentions_are_no_answers_and_one_voter_wins_alone() -> None:
    found = vote(ballots([[None], [NEAR], [None]]), 3, consensus=ROUGE)
    assert found.select("answer", "votes", "total", "n_abstain", "similarity").row(0) == (NEAR, 0, 0, 2, None)
    nobody = vote(ballots([[None], [None]]), 2, consensus=ROUGE)
    assert nobody.row(0) == ("e0", None, False, 0, 0, 0, 2, None)


def test_equal_texts_are_one_row_of_the_tally_and_the_winner_comes_first() -> None:
    found = tally(ballots([[FAR], [NEAR], [MIDDLE], [NEAR]]), 4, consensus=ROUGE)
    assert found.select("answer", "best_rank", "n_experts").rows() == [(NEAR, 2, 2), (MIDDLE, 3, 1), (FAR, 1, 1)]
    assert found["similarity"].to_list() == [(1000 + 888) // 3, (888 + 888) // 3, 0]


@settings(deadline=None)
@given(answer_lists)
def test_where_answers_are_equal_or_not_it_is_the_vote_that_counts_them(answers) -> None:
    cast, k = ballots(answers), len(answers)
    every_k = range(1, k + 1)
    # An expert's own answer has its vote where votes are counted, and not where answers are compared.
    others = ((pl.col("votes", "total") - 1) * FULL).clip(0)
    counted, compared = vote(cast, k), closest.vote(cast, k, "majority", equal)
    assert compared.drop("similarity").rows() == counted.with_columns(others).rows()
    assert closest.sums(cast, every_k, "majority", equal) == curve(cast, every_k).rows()
    rows = tally(cast, k).with_columns((pl.col("votes") - 1) * FULL).sort("example_id", maintain_order=True)
    mine = closest.tally(cast, k, "majority", equal).drop("similarity").sort("example_id", maintain_order=True)
    assert mine.rows() == rows.rows()


words = st.lists(st.sampled_from(["the", "dog", "ran", "home", "again"]), min_size=1, max_size=5).map(" ".join)


@settings(deadline=None)
@given(st.lists(st.lists(st.none() | words, min_size=2, max_size=2), min_size=1, max_size=6))
def test_a_curve_is_the_vote_of_every_k(answers: list[list[str | None]]) -> None:
    cast = ballots(answers, gold="the dog")
    every_k = list(range(1, len(answers) + 1))
    rows = []
    for k in every_k:
        found = vote(cast, k, consensus=ROUGE)
        scores = found["score"].cast(pl.Int64)
        rows.append((k, found["correct"].sum(), found.height, scores.sum(), (scores * scores).sum()))
    assert curve(cast, every_k, consensus=ROUGE).rows() == rows


def test_the_vote_does_not_depend_on_the_order_of_rows() -> None:
    cast = ballots([[FAR], [NEAR], [OTHER], [MIDDLE]])
    assert vote(cast.reverse(), 4, consensus=ROUGE).equals(vote(cast, 4, consensus=ROUGE))


def test_without_a_metric_answers_are_counted() -> None:
    assert consensus_of(object()) == MAJORITY
    assert not MAJORITY.is_closest
    cast = ballots([[FAR], [NEAR], [NEAR]])
    assert vote(cast, 3, consensus=MAJORITY).equals(vote(cast, 3))
    with pytest.raises(KeyError):
        MAJORITY.pairs(["a"])


def test_a_question_that_only_later_experts_were_asked_is_theirs_alone() -> None:
    cast = ballots([["a", "b"], ["a", "a"]]).filter(~((pl.col("rank") == 1) & (pl.col("example_id") == "e1")))
    assert closest.sums(cast, [1, 2], "majority", equal) == curve(cast, [1, 2]).rows()
