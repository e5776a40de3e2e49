"""The winner's curse on tables whose answer is known by hand or by drawing them many times."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from thickets.tasks.selection.luck import SigmaCounts, best_candidate, luck, table_counts, true_accuracy
from thickets.tasks.statistics import accuracy


def counts(right: np.ndarray, sigma: float = 0.001) -> SigmaCounts:
    """Of a table `[n_candidates, n_questions]`."""
    return SigmaCounts(sigma, right.sum(axis=1).tolist(), right.sum(axis=0).tolist())


def drawn(difficulty: np.ndarray, n_candidates: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n_candidates, len(difficulty))) < difficulty


def test_lucks_best_is_what_drawing_equal_candidates_gives() -> None:
    difficulty = np.linspace(0.05, 0.95, 40)
    groups = [SigmaCounts(0.1, [20] * 50, (50 * difficulty).tolist()), SigmaCounts(0.2, [20] * 9, [3.6] * 40)]
    rng = np.random.default_rng(0)
    best = [
        max((rng.random((50, 40)) < difficulty).sum(axis=1).max(), (rng.random((9, 40)) < 0.4).sum(axis=1).max())
        for _ in range(4000)
    ]
    expected, p_value = luck(groups, 28)
    assert expected * 40 == pytest.approx(np.mean(best), abs=0.1)
    assert p_value == pytest.approx(np.mean(np.asarray(best) >= 28), abs=0.03)
    assert p_value >= np.mean(np.asarray(best) >= 28) - 0.01
    assert luck(groups, 0)[1] == 1


def test_questions_that_all_candidates_answer_alike_leave_no_room_for_luck() -> None:
    right = np.tile(np.arange(30) < 12, (20, 1))
    found = best_candidate([counts(right)], 0.001)
    assert found.observed.value == found.by_luck == found.corrected == pytest.approx(0.4)
    assert not found.is_more_than_luck
    assert (found.corrected_low, found.corrected_high) == (found.observed.low, found.observed.high)


def test_one_candidate_was_not_chosen_among_any() -> None:
    found = best_candidate([counts(drawn(np.full(50, 0.4), 1))], 0.001)
    assert found.corrected == found.observed.value
    assert found.p_value == 1


def test_a_lead_within_luck_shrinks_to_the_mean_and_a_lead_beyond_it_stays() -> None:
    equal = drawn(np.full(100, 0.4), 40)
    group = counts(equal)
    best, mean = max(group.by_candidate) / 100, np.mean(group.by_candidate) / 100
    found = best_candidate([group], 0.001)
    assert not found.is_more_than_luck
    assert mean < found.corrected < mean + 0.35 * (best - mean)
    rng = np.random.default_rng(1)
    different = rng.random((40, 100)) < rng.uniform(0.1, 0.7, 40)[:, None]
    group = counts(different)
    found = best_candidate([group], 0.001)
    best, mean = max(group.by_candidate) / 100, np.mean(group.by_candidate) / 100
    assert found.is_more_than_luck
    assert best - 0.15 * (best - mean) < found.corrected < best


def test_shrinkage_is_that_of_a_normal_prior_once_the_spread_is_certain() -> None:
    # 20,000 candidates leave no doubt about mean and spread: the textbook factor t^2 / (t^2 + noise / n).
    rng = np.random.default_rng(2)
    accuracies = rng.normal(0.5, 0.05, 20_000)
    right = rng.binomial(1, accuracies[:, None], (20_000, 50))
    group = counts(right)
    value, _, _ = true_accuracy(group, 35)
    factor = 0.05**2 / (0.05**2 + (0.25 - 0.05**2) / 50)
    assert value == pytest.approx(0.5 + factor * 0.2, abs=0.006)


def test_sigmas_are_not_pooled() -> None:
    low, high = drawn(np.full(60, 0.2), 30, seed=1), drawn(np.full(60, 0.6), 30, seed=2)
    found = best_candidate([counts(low, 0.1), counts(high, 0.2)], 0.2)
    # Pooled, the better sigma's candidates would look like giants; among themselves they are equal.
    assert found.sigma == 0.2
    assert found.n_candidates == 60
    assert not found.is_more_than_luck
    assert found.corrected == pytest.approx(0.6, abs=0.06)


def test_the_p_value_is_no_larger_than_one_and_falls_with_the_score() -> None:
    group = counts(drawn(np.linspace(0.1, 0.9, 30), 16))
    p_values = [luck([group], best)[1] for best in range(31)]
    assert p_values[0] == 1
    assert all(0 <= later <= earlier <= 1 for earlier, later in pairwise(p_values))
    one = stats.poisson_binom(group.difficulty).sf(24)
    assert p_values[25] == pytest.approx(16 * one)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("points", [0, 333, 500, 700, 1000])
def test_graded_scores_that_are_all_equal_leave_no_room_for_luck_either(points: int) -> None:
    """The sum of their squares less the square of their mean is not 0 in floating point for most of these."""
    table = np.full((6, 8), points)
    table[:, 3] = 123
    found = best_candidate([table_counts(0.1, table, 1000)], 0.1, accuracy(0, 8))
    assert found.by_luck == pytest.approx((7 * points + 123) / 8000)
    assert (found.p_value, found.is_more_than_luck) == (1, False)
    assert 0 <= found.corrected_low <= found.corrected <= found.corrected_high <= 1
