"""The greedy committee: by hand, against an exact restatement in fractions, and its first members for any size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tasks.diversity import PENALTY, PER, diverse_order, pool_size


def table(*rows: str) -> np.ndarray:
    return np.array([[answer == "1" for answer in row] for row in rows])


def test_the_next_expert_is_right_where_those_before_are_wrong() -> None:
    #                 6 right     5 right, same errors  5 right, others  4 right
    right = table("11111100", "11111000", "11100011", "11110000")
    # After the first (wrong on the last two): 5 - 2, 5 - 0, 4 - 2. Then, wrong by both chosen means: 5 - (2 + 2) / 2,
    # since the second is wrong on three of which the third chosen has two wrong; 4 - (2 + 2) / 2.
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


tables = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=30)).map(
    lambda right: right[np.argsort(-right.sum(axis=1), kind="stable")]
)


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
