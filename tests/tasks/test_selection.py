"""The methods of selection on leaderboards whose order is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.selection.luck import SigmaCounts, posterior_mean, sigma_counts, true_accuracy
from thickets.tasks.selection.ranking import diverse, plain, shrunken, union


def board_of(right: np.ndarray, sigmas: list[float]) -> tuple[pl.DataFrame, list[SigmaCounts], pl.Series]:
    """Leaderboard, counts and answers of a table `[n_candidates, n_questions]`; seeds are row numbers."""
    n_correct = right.sum(axis=1)
    order = sorted(range(len(right)), key=lambda row: (-n_correct[row], row))
    board = pl.DataFrame(
        {
            "candidate_id": [f"c{row}" for row in order],
            "seed": order,
            "sigma": [sigmas[row] for row in order],
            "n_correct": [int(n_correct[row]) for row in order],
            "n": right.shape[1],
            "points": [1000 * int(n_correct[row]) for row in order],
        }
    )
    questions = [
        (sigma, int(right[[s == sigma for s in sigmas], question].sum()))
        for sigma in sorted(set(sigmas))
        for question in range(right.shape[1])
    ]
    by_question = pl.DataFrame(questions, schema=["sigma", "n_correct"], orient="row").with_columns(
        points=1000 * pl.col("n_correct"), squares=1_000_000 * pl.col("n_correct")
    )
    return board, sigma_counts(board, by_question), pl.Series(right[order].ravel())


def rows_with(*n_correct: int, n: int, offset: int = 0) -> np.ndarray:
    """Candidates with so many right answers each, on questions that begin at another place for every candidate."""
    return np.array([[(q + 7 * row + offset) % n < count for q in range(n)] for row, count in enumerate(n_correct)])


def test_a_lucky_score_in_a_bad_sigma_ranks_below_a_lower_one_in_a_good_sigma() -> None:
    good = rows_with(*[30, 29, 28] * 5, n=60)
    bad = rows_with(31, *[15, 14, 13] * 5, n=60)
    board, groups, _ = board_of(np.concatenate([good, bad]), [0.1] * 15 + [0.2] * 16)
    assert plain(board, 1)["candidate_id"].to_list() == ["c15"]
    ranked = shrunken(board, groups, 3)
    assert ranked["sigma"].to_list() == [0.1] * 3
    assert ranked["candidate_id"].to_list() == ["c0", "c3", "c6"]
    assert ranked["rank"].to_list() == [1, 2, 3]


def test_the_weight_of_a_shrunken_score_is_the_posterior_mean_in_millionths() -> None:
    board, groups, _ = board_of(rows_with(*range(10, 30), n=60), [0.1] * 20)
    ranked = shrunken(board, groups, 20)
    for n_correct, weight in ranked.select("n_correct", "weight").iter_rows():
        assert weight == round(1e6 * true_accuracy(groups[0], n_correct)[0])
        assert weight == round(1e6 * posterior_mean(groups[0], n_correct))
    # Between the score itself and the mean of all, 19.5 of 60.
    assert 19.5 / 60 < ranked["weight"][0] / 1e6 < 29 / 60
    assert plain(board, 20)["weight"].to_list() == plain(board, 20)["n_correct"].to_list()


def test_two_candidates_of_a_sigma_are_taken_at_their_word() -> None:
    board, groups, _ = board_of(rows_with(10, 20, n=40), [0.1, 0.1])
    assert shrunken(board, groups, 2)["weight"].to_list() == [500_000, 250_000]


def test_a_diverse_ranking_counts_its_own_places() -> None:
    right = np.array([[c == "1" for c in row] for row in ("11111100", "11111000", "11100011", "11110000")])
    board, _, correct = board_of(right, [0.1] * 4)
    ranked = diverse(board, correct, 3)
    assert ranked["candidate_id"].to_list() == ["c0", "c2", "c1"]
    assert ranked["rank"].to_list() == [1, 2, 3]
    assert ranked["weight"].to_list() == [6, 5, 5]


def test_a_union_names_everybody_once() -> None:
    board, _, _ = board_of(rows_with(9, 8, 7, n=20), [0.1] * 3)
    assert union([board.head(2), board.tail(2)])["candidate_id"].to_list() == ["c0", "c1", "c2"]


@st.composite
def populations(draw: st.DrawFn) -> tuple[np.ndarray, list[float]]:
    n_candidates, n = draw(st.integers(1, 25)), draw(st.integers(1, 20))
    right = np.random.default_rng(draw(st.integers(0, 10**6))).random((n_candidates, n)) < draw(st.floats(0, 1))
    return right, draw(st.lists(st.sampled_from([0.1, 0.2]), min_size=n_candidates, max_size=n_candidates))


@settings(deadline=None)
@given(populations(), st.integers(1, 25), st.integers(1, 25))
@pytest.mark.parametrize("method", ["top_k", "shrunken", "diverse"])
def test_a_ranking_is_a_function_of_its_scores_and_begins_the_same_for_every_k(
    method: str, drawn: tuple[np.ndarray, list[float]], few: int, many: int
) -> None:
    board, groups, correct = board_of(*drawn)
    few, many = sorted((few, many))

    def ranked(k: int) -> pl.DataFrame:
        if method == "top_k":
            return plain(board, k)
        return shrunken(board, groups, k) if method == "shrunken" else diverse(board, correct, k)

    assert ranked(many).equals(ranked(many))
    assert ranked(many).head(few).equals(ranked(few))
    assert ranked(many)["candidate_id"].n_unique() == min(many, board.height)
    assert ranked(many)["rank"].to_list() == list(range(1, min(many, board.height) + 1))


@settings(deadline=None)
@given(populations())
def test_shrinking_keeps_the_order_within_a_sigma(drawn: tuple[np.ndarray, list[float]]) -> None:
    board, groups, _ = board_of(*drawn)
    ranked = shrunken(board, groups, board.height)
    for sigma in set(drawn[1]):
        of_sigma = ranked.filter(pl.col("sigma") == sigma)["candidate_id"].to_list()
        assert of_sigma == board.filter(pl.col("sigma") == sigma)["candidate_id"].to_list()
