"""Directions of merges, and steps of evolution strategies, on cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thickets.storage.errors import InputError
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.merging.directions import best, by_score, merge, shaped
from thickets.tasks.merging.evolution import Step, mirrored
from thickets.tasks.types import Average, Candidate

MANY = [Candidate(seed, 0.05) for seed in range(1, 65)]


def at(weights: object, base: torch.Tensor) -> torch.Tensor:
    live = torch.empty_like(base)
    write_weights(live, base, name="theta", weights=weights, family="gaussian")  # type: ignore[arg-type]
    return live


def test_the_best_count_alike_and_their_merge_at_one_over_root_k_is_their_average() -> None:
    direction = best([1, 3, 2, 3], 2)
    assert direction.tolist() == pytest.approx([0, 0.5**0.5, 0, 0.5**0.5])
    base = torch.zeros(4096)
    merged = at(merge(MANY[:4], best([9, 8, 7, 6], 4), 0.5), base)
    torch.testing.assert_close(merged, at(Average(tuple(MANY[:4])), base), atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_a_merge_is_as_far_from_the_base_as_its_radius_says(radius: float) -> None:
    base = torch.zeros(100_000)
    scores = np.random.default_rng(0).integers(0, 30, len(MANY)).tolist()
    for direction in (by_score(scores), by_score(scores, "rank"), best(scores, 5)):
        distance = float(at(merge(MANY, direction, radius), base).pow(2).mean().sqrt())
        assert distance == pytest.approx(radius * 0.05, rel=0.03)


def test_worths_have_mean_zero_and_equal_scores_are_worth_the_same() -> None:
    assert shaped([1, 2, 3], "z_score").tolist() == pytest.approx([-(1.5**0.5), 0, 1.5**0.5])
    assert shaped([10, 2, 2, 1000], "rank").tolist() == pytest.approx([1 / 6, -1 / 3, -1 / 3, 0.5])
    assert shaped([4, 4], "rank").tolist() == [0, 0]


def test_the_best_quarter_counts_alike_and_who_ties_for_its_last_place_shares_it() -> None:
    assert shaped([5, 9, 1, 8, 2, 3, 4, 0], "best_quarter").tolist() == [0, 2, 0, 2, 0, 0, 0, 0]
    tied = shaped([5, 9, 5, 5, 2, 3, 4, 0], "best_quarter")
    assert (tied / tied[1]).tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3, 0, 0, 0, 0])
    assert float(tied @ tied) == pytest.approx(8)
    assert shaped([4, 4], "best_quarter").tolist() == [0, 0]
    assert shaped([1, 2], "best_quarter").tolist() == pytest.approx([0, 2**0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: best([1, 2], 3), "merge.k is 3; there are 2"),
        (lambda: by_score([2, 2]), "all 2 candidates have the same"),
        (lambda: shaped([1, float("nan")], "rank"), "finite"),
        (lambda: shaped([], "rank"), "finite"),
        (lambda: Step(0.0), "learning_rate is 0.0"),
        (lambda: Step(1.0).take(MANY[:2], [1.0]), "found 1 for 2"),
        (lambda: Step(1.0).take([*MANY[:1], Candidate(9, 0.1)], [1, 2]), "one"),
    ],
)
def test_what_has_no_direction_is_refused(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_steps_of_evolution_strategies_climb_a_quadratic(is_mirrored: bool) -> None:
    target = torch.linspace(-1, 1, 32)
    theta, step = torch.zeros(32), Step(0.02)

    def reward(weights: torch.Tensor) -> float:
        return -float((weights - target).pow(2).sum())

    first = reward(theta)
    for round_ in range(60):
        population = [Candidate(1000 * round_ + i, 0.05) for i in range(32)]
        rewards = [reward(at(each, theta)) for each in population]
        mirrors = [reward(at(mirrored(each), theta)) for each in population] if is_mirrored else None
        merged = step.take(population, rewards, mirrors)
        assert merged is not None
        theta = at(merged, theta)
    assert reward(theta) > 0.1 * first  # nine tenths of the way are behind it


def test_a_step_follows_the_gradient_of_a_linear_reward() -> None:
    """There the estimate's expectation is known: learning_rate times the slope, in units of the rewards' spread."""
    slope, sigma = torch.tensor([3.0, -4.0] + [0.0] * 14), 0.1
    population = [Candidate(seed, sigma) for seed in range(4000)]
    zero = torch.zeros(16)
    rewards = [float(at(each, zero) @ slope) for each in population]
    merged = Step(1.0).take(population, rewards)
    assert merged is not None
    spread = float(np.std(rewards))
    torch.testing.assert_close(at(merged, zero), slope / spread, atol=0.6, rtol=0)


def test_equal_rewards_are_no_step() -> None:
    assert Step(1.0).take(MANY[:3], [5, 5, 5]) is None
    assert Step(1.0).take(MANY[:3], [1, 2, 3], [1, 2, 3]) is None
