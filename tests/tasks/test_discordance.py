"""Discordance against synthetic truth, and its noise floor: what tells different rankings from noisy ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from thickets.tasks.evaluation.discordance import (
    TaskScores,
    attenuated,
    correlation,
    discordance,
    percentiles,
    spearman_brown,
)
from thickets.tasks.results.discordance import SigmaDiscordance


def task(name: str, correct: np.ndarray, experts: list[int] | None = None) -> TaskScores:
    chosen = np.isin(np.arange(len(correct)), [] if experts is None else experts)
    return TaskScores(name, correct.astype(bool), chosen)


def staircase(order: np.ndarray, n_questions: int) -> np.ndarray:
    """Candidate i has the first ``order[i]`` questions right: a ranking without noise."""
    return np.arange(n_questions) < order[:, None]


def answers(ability: np.ndarray, n_questions: int, rng: np.random.Generator) -> np.ndarray:
    """Draw answers: a question is right with a probability that grows with the candidate's ability."""
    difficulty = rng.normal(size=n_questions)
    return rng.random((len(ability), n_questions)) < 1 / (1 + np.exp(difficulty - ability[:, None]))


def test_identical_tasks_have_no_discordance() -> None:
    scores = staircase(np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3]), 10)
    found = discordance(0.1, [task(name, scores) for name in "abc"])
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)
    assert np.array(found.correlations) == pytest.approx(np.ones((3, 3)))


def test_two_opposed_tasks_have_discordance_two() -> None:
    order = np.arange(12)
    found = discordance(0.1, [task("up", staircase(order, 12)), task("down", staircase(11 - order, 12))])
    assert (found.value, found.low, found.high) == pytest.approx((2, 2, 2))


def test_independent_tasks_have_discordance_one_within_its_interval() -> None:
    rng = np.random.default_rng(5)
    found = [
        discordance(0.1, [task(name, answers(2 * rng.normal(size=60), 60, rng)) for name in "abc"]) for _ in range(20)
    ]
    assert np.mean([each.value for each in found]) == pytest.approx(1, abs=0.05)
    assert sum((each.low or 0) < 1 < (each.high or 0) for each in found) >= 16  # 19 of 20 on average
    assert all((each.floor or 1) < 0.2 and each.is_more_than_noise for each in found)


def test_noise_raises_discordance_and_the_floor_says_so() -> None:
    """Equally able candidates on few questions look discordant; the floor rises as much, and nothing is in excess."""
    rng = np.random.default_rng(6)
    ability = rng.normal(size=200) / 2
    tasks = [task(name, answers(ability, 16, rng)) for name in "abc"]
    found = discordance(0.1, tasks)
    assert found.value is not None
    assert found.value > 0.4
    assert found.floor == pytest.approx(found.value, abs=0.15)
    assert found.is_more_than_noise is False
    for each in found.tasks:
        assert each.halves is not None
        assert each.halves > found.floor  # half the questions are noisier than all of them


def test_the_floor_is_seldom_exceeded_where_tasks_agree() -> None:
    rng = np.random.default_rng(7)
    found = []
    for seed in range(40):
        ability = rng.normal(size=40)
        tasks = [task(name, answers(ability, 32, rng)) for name in "ab"]
        found.append(discordance(0.1, tasks, seed=seed))
    assert sum(bool(each.is_more_than_noise) for each in found) <= 4
    mean = np.mean([each.value for each in found])
    assert np.mean([each.floor for each in found]) == pytest.approx(mean, abs=0.08)


def test_percentiles_are_those_of_scipy_in_every_resample() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 5, size=12)
    drawn = np.vstack([np.ones(12), rng.multinomial(12, np.full(12, 1 / 12), size=20)])
    found = percentiles(drawn, scores)
    for times, row in zip(drawn.astype(int), found, strict=True):
        expected = (stats.rankdata(np.repeat(scores, times)) - 0.5) / 12
        assert np.repeat(row, times) == pytest.approx(expected)


def test_the_correlation_is_spearman_s() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.integers(0, 6, size=(2, 30))
    ones = np.ones((1, 30))
    found = correlation(ones, percentiles(ones, first), percentiles(ones, second))
    assert found[0] == pytest.approx(stats.spearmanr(first, second).statistic)
    assert np.isnan(correlation(ones, percentiles(ones, first), percentiles(ones, np.zeros(30, dtype=int)))[0])


def test_spearman_brown_doubles_the_length() -> None:
    assert spearman_brown(np.array([0.5, 0, 1, -0.5])) == pytest.approx([2 / 3, 0, 1, -2 / 3])


def test_reliabilities_attenuate_a_correlation_by_their_geometric_mean() -> None:
    first, second = np.array([0.5, 0.5, -0.5, -0.1]), np.array([0.5, 0.02, 0.3, -0.4])
    assert attenuated(first, second) == pytest.approx([0.5, 0.1, 0, -0.2])


def test_three_tasks_by_hand() -> None:
    a, b, c = np.array([0, 1, 2, 3]), np.array([1, 0, 2, 3]), np.array([3, 2, 1, 0])
    found = discordance(0.1, [task(name, staircase(x, 4), [3]) for name, x in zip("abc", (a, b, c), strict=True)])
    assert found.correlations[0] == pytest.approx((1, 0.8, -1))
    assert found.correlations[1][2] == pytest.approx(-0.8)
    assert found.value == pytest.approx(1 - (0.8 - 1 - 0.8) / 3)
    assert found.expert_percentiles[0] == pytest.approx((0.875, 0.875, 0.125))
    assert found.n_experts == (1, 1, 1)


def test_a_task_without_experts_here_has_no_percentiles() -> None:
    scores = staircase(np.array([0, 1, 2]), 3)
    found = discordance(0.1, [task("a", scores, [2]), task("b", scores)])
    assert found.expert_percentiles == (pytest.approx((5 / 6, 5 / 6)), (None, None))


def test_a_task_that_ranks_nobody_is_left_out_with_the_reason() -> None:
    scores = staircase(np.array([0, 1, 2, 3]), 4)
    easy = np.ones((4, 4))
    found = discordance(0.1, [task("a", scores), task("easy", easy), task("b", scores)])
    assert [each.task for each in found.tasks] == ["a", "b"]
    [left] = found.left_out
    assert left.task == "easy"
    assert left.reason.startswith("all 4 candidates have the same score")
    assert found.value == pytest.approx(0)
    none = discordance(0.1, [task("a", scores), task("easy", easy)])
    assert (none.value, none.reason) == (None, "fewer than 2 tasks rank the candidates")
    assert [each.task for each in none.left_out] == ["easy"]


@pytest.mark.parametrize("n", [0, 2])
def test_too_few_candidates_are_a_reason(n: int) -> None:
    found = discordance(0.1, [task(name, np.arange(4) < np.arange(n)[:, None]) for name in "ab"])
    assert found == SigmaDiscordance(
        sigma=0.1, n_candidates=n, reason=f"{n} candidates in common; 3 are the fewest that can be ranked"
    )


def test_few_or_nearly_equal_candidates_have_no_interval_and_no_verdict() -> None:
    rng = np.random.default_rng(4)
    few = discordance(0.1, [task(name, answers(rng.normal(size=9), 20, rng)) for name in "ab"])
    one_differs = np.zeros((30, 20))
    one_differs[0] = 1
    alike = discordance(0.1, [task("a", one_differs), task("b", one_differs)])
    for found in (few, alike):
        assert found.value is not None
        assert found.floor is not None
        assert (found.low, found.high, found.excess_low, found.is_more_than_noise) == (None, None, None, None)


def test_one_question_has_no_halves_and_therefore_no_floor() -> None:
    scores = np.array([[1], [0], [1], [0]])
    found = discordance(0.1, [task("a", scores), task("b", 1 - scores)])
    assert found.value == pytest.approx(2)
    assert (found.floor, found.excess, found.is_more_than_noise) == (None, None, None)
    assert found.tasks[0].halves is None


def test_the_same_scores_give_the_same_figures() -> None:
    rng = np.random.default_rng(3)
    tasks = [task(name, answers(rng.normal(size=20), 20, rng)) for name in "ab"]
    assert discordance(0.1, tasks) == discordance(0.1, tasks)
