"""The greedy committee: by hand, against an exact restatement in fractions, and its first members for any size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.selection.diversity import PENALTY, PER, diverse_order, pool_size


def table(*rows: str) -> np.ndarray:
    return np.array([[answer == "1" for answer in row] for row in rows])


def test_the_next_expert_is_right_where_those_before_are_wrong() -> None:
    #                 6 right     5 right, same errors  5 right, others  4 right
    right = table("11111100", "11111000", "11100011", "11110000")
    # After the first, which is wrong on the last two: 5 - 2, 5 - 0, 4 - 2. Then, with 0 and 2 chosen: the second shares
    # two errors with the first and one with the third, 5 - (2 + 1) / 2; the fourth 4 - (2 + 2) / 2.
    assert diverse_order(right, 4) == [0, 2, 1, 3]
    assert diverse_order(right, 2) == [0, 2]


def test_ties_go_to_the_better_ranked() -> None:
    assert diverse_order(table("1100", "1100", "1100"), 3) == [0, 1, 2]
    assert diverse_order(table("1100", "0011", "0011"), 3) == [0, 1, 2]


def test_fewer_candidates_than_wanted_are_all_taken() -> None:
    assert sorted(diverse_order(table("10", "01"), 5)) == [0, 1]


def test_candidates_beyond_the_pool_are_not_chosen_however_different() -> None:
    right = np.zeros((60, 40), dtype=bool)
    right[:, :30] = True
    right[59, :30], right[59, 30:] = False, True  # the only one that is right where all others are wrong
    right[59, :19] = True
    order = diverse_order(right, 10)
    assert 59 not in order
    assert max(order) < pool_size(10)
    right[[5, 59]] = right[[59, 5]]
    assert diverse_order(right, 10)[:2] == [0, 5]


def random_table(seed: int) -> np.ndarray:
    """Up to 40 candidates that are about equally good, on up to 40 questions; best first."""
    rng = np.random.default_rng(seed)
    n_candidates, n = rng.integers(1, 41, 2)
    right = rng.random((n_candidates, n)) < rng.uniform(0.2, 0.8)
    return right[np.argsort(-right.sum(axis=1), kind="stable")]


tables = st.integers(0, 10**6).map(random_table)


def test_a_candidate_joins_the_pool_when_its_turn_comes() -> None:
    # Candidates 0 to 11 are the same; number 12 has one right answer less and all of its errors elsewhere.
    right = np.zeros((20, 40), dtype=bool)
    right[:, :20] = True
    right[12] = ~right[12]
    right[12, 39] = False
    assert diverse_order(right, 4) == [0, 1, 12, 2]  # the second comes from the best 12, the third from the best 13
    assert pool_size(2) == 12


@settings(deadline=None)
@given(tables, st.integers(1, 30), st.integers(1, 30))
def test_the_first_ones_do_not_depend_on_how_many_are_wanted(right: np.ndarray, few: int, many: int) -> None:
    few, many = sorted((few, many))
    long = diverse_order(right[: pool_size(many)], many)
    assert diverse_order(right[: pool_size(few)], few) == long[:few]
    assert diverse_order(right, many) == long
    assert len(set(long)) == len(long) == min(many, len(right))


@settings(deadline=None)
@given(tables, st.integers(1, 8))
def test_each_choice_is_the_best_by_exact_arithmetic(right: np.ndarray, k: int) -> None:
    order = diverse_order(right, k)
    for place, chosen in enumerate(order):
        before = order[:place]

        def value(row: int, before: list[int] = before) -> Fraction:
            shared = sum(int((~right[row] & ~right[other]).sum()) for other in before)
            return int(right[row].sum()) - Fraction(PENALTY * shared, PER * max(1, len(before)))

        pool = [row for row in range(min(pool_size(place + 1), len(right))) if row not in before]
        assert chosen == max(pool, key=lambda row: (value(row), -row))
