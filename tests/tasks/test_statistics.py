from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from thickets.tasks.statistics import (
    accuracy,
    examples_needed,
    mcnemar,
    minus_expectation,
    paired_difference,
    rank_correlation,
    share,
)


def test_wilson_interval_of_a_worked_example() -> None:
    # 81 of 263, a textbook case (Newcombe 1998): 0.2553 to 0.3662.
    for found in (accuracy(81, 263), share(81, 263)):
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
    assert (found.n_better, found.n_worse, found.p_value, found.examples_needed) == (0, 0, 1, None)


def test_a_difference_counts_who_gained_and_who_lost() -> None:
    found = paired_difference([True, True, True, False, True], [False, False, True, True, True])
    assert (found.n, found.n_better, found.n_worse) == (5, 2, 1)
    assert found.value == pytest.approx(0.2)
    assert found.p_value == mcnemar(2, 1)


def test_against_an_expectation_the_interval_is_that_of_the_accuracy() -> None:
    ours = accuracy(150, 256)
    found = minus_expectation(ours, 0.5)
    assert (found.value, found.low, found.high) == (ours.value - 0.5, ours.low - 0.5, ours.high - 0.5)
    assert found.is_clear
    assert (found.n, found.n_better, found.n_worse) == (256, 0, 0)
    assert found.p_value == pytest.approx(stats.binomtest(150, 256, 0.5).pvalue)
    # (1.96 x 0.5 + 0.8416 x sqrt(0.5859 x 0.4141))^2 / 0.0859^2, a textbook's one-sample proportion.
    assert found.examples_needed == 264
    assert minus_expectation(accuracy(128, 256), 0.5).examples_needed is None


@pytest.mark.parametrize("chance", [1 / 2, 1 / 3, 1 / 4, 1 / 10])
@pytest.mark.parametrize(("n", "most"), [(14, 0.069), (64, 0.046), (256, 0.046)])
def test_guessing_seldom_looks_better_or_worse_than_guessing(chance: float, n: int, most: float) -> None:
    found = [minus_expectation(accuracy(n_correct, n), chance) for n_correct in range(n + 1)]
    probability = stats.binom.pmf(np.arange(n + 1), n, chance)
    assert sum(p for p, each in zip(probability, found, strict=True) if each.low > 0) <= most
    assert sum(p for p, each in zip(probability, found, strict=True) if each.high < 0) <= most


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for repetition in range(60):
        theirs = rng.random(200) < 0.4
        ours = rng.random(200) < 0.5
        found = paired_difference(ours.tolist(), theirs.tolist(), seed=repetition)
        hits += found.low <= 0.1 <= found.high
    assert hits >= 51  # 95 % of 60 is 57; fewer than 51 has probability below 0.005


def test_mcnemar_of_published_examples() -> None:
    # Fagerland, Lydersen & Laake 2013, BMC Med. Res. Methodol. 13:91: airway hyper-responsiveness, 7 against 1.
    assert round(mcnemar(7, 1), 4) == 0.0703
    # Complete response before and after treatment (the same article): 6 against 16.
    assert round(mcnemar(6, 16), 4) == 0.0525


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_twice_a_binomial_tail_and_takes_no_side(n_better: int, n_worse: int) -> None:
    found = mcnemar(n_better, n_worse)
    assert found == mcnemar(n_worse, n_better)
    tail = stats.binom.sf(max(n_better, n_worse) - 1, n_better + n_worse, 0.5)
    assert found == pytest.approx(min(1, 2 * tail))


def test_examples_needed_of_a_worked_example() -> None:
    # 20 % of the pairs gained and 5 % lost: (1.959964 * sqrt(0.25) + 0.841621 * sqrt(0.25 - 0.0225))^2 / 0.0225.
    by_hand = (1.959964 * 0.5 + 0.841621 * math.sqrt(0.2275)) ** 2 / 0.0225
    assert examples_needed(20, 5, 100) == math.ceil(by_hand) == 85
    assert examples_needed(5, 20, 100) == 85
    assert examples_needed(3, 3, 100) is None


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_more_examples_are_needed_for_less(n_better: int, n_worse: int, n_same: int) -> None:
    n = n_better + n_worse + n_same
    if n_better <= n_worse:
        return
    needed = examples_needed(n_better, n_worse, n)
    assert needed is not None
    # The same shares need the same number, however many examples showed them; a smaller difference needs more.
    assert abs(examples_needed(3 * n_better, 3 * n_worse, 3 * n) - needed) <= 1  # type: ignore[operator]
    fewer = examples_needed(n_better, n_worse + 1, n + 1)
    assert fewer is None or fewer > needed


def test_rank_correlation_is_scipys_with_an_interval_around_it() -> None:
    first, second = [9, 8, 8, 7, 7, 6, 5, 3], [5, 7, 6, 6, 4, 5, 3, 4]
    found = rank_correlation(first, second, 40)
    assert found.value == pytest.approx(stats.spearmanr(first, second).statistic)
    assert found.low is not None
    assert found.high is not None
    assert -1 < found.low < found.value < found.high < 1
    assert (found.n_candidates, found.n_population, found.reason) == (8, 40, None)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_correlation_of_a_few_proves_little(sign: int) -> None:
    found = rank_correlation([1, 2, 3, 4, 5], [sign * value for value in [2, 4, 5, 7, 8]], 5)
    assert found.value == sign
    assert found.low is not None
    assert found.high is not None
    assert (found.high if sign == 1 else found.low) == sign
    assert -1 <= found.low < found.high <= 1
    assert found.high - found.low > 0.3


@pytest.mark.parametrize(
    ("first", "second", "reason", "has_value"),
    [
        ([], [], "0 candidates", False),
        ([3, 1], [2, 5], "2 candidates", False),
        ([4, 4, 4, 4], [1, 2, 3, 4], "all 4 candidates have the same score", False),
        ([1, 2, 3, 4], [4, 4, 4, 4], "all 4 candidates have the same score", False),
        ([1, 2, 4], [1, 3, 2], "too few for an interval", True),
    ],
)
def test_no_correlation_comes_with_its_reason(
    first: list[int], second: list[int], reason: str, has_value: bool
) -> None:
    found = rank_correlation(first, second, 9)
    assert reason in (found.reason or "")
    assert (found.low, found.high) == (None, None)
    assert (found.value is not None) == has_value


def test_the_correlations_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(2)
    truth = 6 / math.pi * math.asin(0.6 / 2)  # Spearman's of a bivariate normal with Pearson's 0.6
    hits = 0
    for _ in range(500):
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 12).T
        found = rank_correlation((1000 * x).astype(int).tolist(), (1000 * y).astype(int).tolist(), 12)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert hits >= 460  # 95 % of 500 is 475; fewer than 460 has probability below 0.005
