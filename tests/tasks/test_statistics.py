from __future__ import annotations

import numpy as np
import pytest

from tasks.statistics import accuracy, paired_difference


def test_wilson_interval_of_a_worked_example() -> None:
    # 81 of 263, a textbook case (Newcombe 1998): 0.2553 to 0.3662.
    found = accuracy(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("n_correct", [0, 20])
def test_wilson_interval_stays_open_at_the_ends(n_correct: int) -> None:
    found = accuracy(n_correct, 20)
    assert 0 <= found.low < found.high <= 1


def test_no_examples_is_an_error() -> None:
    with pytest.raises(ValueError, match="n"):
        accuracy(0, 0)


def test_pairing_makes_a_consistent_gain_clear() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(300) < 0.5
    ours = theirs | (rng.random(300) < 0.1)
    found = paired_difference(ours.tolist(), theirs.tolist())
    assert found.is_clear
    assert found.low < found.value < found.high
    assert found == paired_difference(ours.tolist(), theirs.tolist())


def test_equal_answers_differ_by_exactly_nothing() -> None:
    found = paired_difference([True, False], [True, False])
    assert (found.value, found.low, found.high, found.is_clear) == (0, 0, 0, False)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for repetition in range(60):
        theirs = rng.random(200) < 0.4
        ours = rng.random(200) < 0.5
        found = paired_difference(ours.tolist(), theirs.tolist(), seed=repetition)
        hits += found.low <= 0.1 <= found.high
    assert hits >= 51  # 95 % of 60 is 57; fewer than 51 has probability below 0.005
