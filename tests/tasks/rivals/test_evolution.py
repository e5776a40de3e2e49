"""What a round of evolution strategies draws, and the step that its scores make."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from thickets.tasks.noise import noise
from thickets.tasks.problems.splits import Split, content_sha256
from thickets.tasks.rivals.evolution import draw_questions, draw_round, rewards_of
from thickets.tasks.types import Candidate, Example, Merge, Respondent


def test_a_round_draws_its_own_candidates_and_pairs_are_half_of_it_twice() -> None:
    first, second = (draw_round(6, 0.01, 3, number, antithetic=False) for number in (0, 1))
    assert len(first.respondents) == 6
    assert not {each.seed for each in first.candidates} & {each.seed for each in second.candidates}
    assert draw_round(6, 0.01, 3, 1, antithetic=False) == second
    pairs = draw_round(6, 0.01, 3, 0, antithetic=True)
    assert pairs.candidates == first.candidates[:3]
    assert pairs.respondents == [*pairs.candidates, *(Merge((each,), (-1.0,)) for each in pairs.candidates)]


def test_the_questions_of_a_round_are_some_of_the_split_and_not_those_of_the_next_round() -> None:
    examples = tuple(Example(str(number), f"{number}?", "1") for number in range(40))
    split = Split("selection", examples, content_sha256(examples))
    assert draw_questions(split, 40, 0, 1) is draw_questions(split, 41, 0, 1) is split
    first, second = (draw_questions(split, 10, 0, number) for number in (0, 1))
    assert len({example.id for example in first.examples}) == 10
    assert {example.id for example in first.examples} != {example.id for example in second.examples}
    assert first.sha256 == content_sha256(first.examples)
    assert draw_questions(split, 10, 0, 0) == first
    assert draw_questions(split, 10, 1, 0) != first


def test_rewards_are_mean_scores_in_the_order_of_the_respondents() -> None:
    answers = pl.DataFrame(
        {"candidate_id": ["a", "b", "a", "b"], "score": [1000, 0, 500, 1000]}, schema_overrides={"score": pl.UInt16}
    )
    assert rewards_of(answers, ["b", "a"]) == [500.0, 750.0]


def at(theta: np.ndarray, who: Respondent) -> np.ndarray:
    """The weights of a respondent around theta, in float64 and by the definition."""
    members = ((who, 1.0),) if isinstance(who, Candidate) else ()
    if isinstance(who, Merge):
        members = tuple(zip(who.members, who.coefficients, strict=True))
    return theta + sum(c * each.sigma * noise(each.seed, "theta", 0, theta.size) for each, c in members)


@pytest.mark.parametrize("antithetic", [False, True], ids=["alone", "pairs"])
@pytest.mark.parametrize("shaping", ["z_score", "rank"])
def test_rounds_end_near_the_top_of_a_quadratic(antithetic: bool, shaping: str) -> None:
    target = np.linspace(-1, 1, 16)
    theta = np.zeros(16)
    for number in range(80):
        drawn = draw_round(32, 0.05, 0, number, antithetic=antithetic)
        rewards = [-float(((at(theta, who) - target) ** 2).sum()) for who in drawn.respondents]
        # Ranks spread by 0.3 and z-scores by 1, so the same rate is another step.
        step = drawn.step(rewards, 0.1 if shaping == "z_score" else 0.34, shaping)  # type: ignore[arg-type]
        assert step is not None
        theta = at(theta, step)
    assert ((theta - target) ** 2).sum() < 0.02 * (target**2).sum()


def test_pairs_whose_scores_are_alike_make_no_step_of_their_own() -> None:
    drawn = draw_round(4, 0.1, 0, 0, antithetic=True)
    step = drawn.step([1.0, 5.0, 1.0, 2.0], 0.1, "z_score")
    assert step is not None
    assert step.members == drawn.candidates[1:]
    assert step.coefficients[0] > 0
    assert drawn.step([3.0] * 4, 0.1, "z_score") is None
