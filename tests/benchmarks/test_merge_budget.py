"""The benchmark of merges for equal numbers of answers: which candidates a part of a table takes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.merge_budget import Shape, merged, parts
from thickets.tasks.types import Candidate

CANDIDATES = [Candidate(seed, 0.01) for seed in range(64)]
GOOD = range(0, 64, 8)  # an eighth


def taken(correct: np.ndarray, shape: Shape, draw: int = 0) -> list[int]:
    made = merged(CANDIDATES, correct, shape, 1.5, np.random.default_rng(draw))
    assert made.coefficients == pytest.approx([1.5 / len(made.members) ** 0.5] * len(made.members))
    return [member.seed for member in made.members]


@pytest.mark.parametrize("own", [False, True])
def test_the_best_eighth_of_all_is_merged_at_the_radius(own: bool) -> None:
    correct = np.zeros((64, 16), dtype=bool)
    correct[list(GOOD)] = True
    assert taken(correct, Shape(64, 4, own)) == list(GOOD)


def test_easy_questions_of_its_own_do_not_make_a_candidate_good() -> None:
    """Half of the questions are right for everybody; good candidates have the hard ones right as well."""
    correct = np.zeros((64, 16), dtype=bool)
    correct[:, :8] = True
    correct[list(GOOD), 8:] = True
    draws = [taken(correct, Shape(64, 3, own=True), draw) for draw in range(20)]
    # Who gets easy questions only, one in ten, cannot be told; were easy points not taken off, 5 of 8 would be found.
    assert sum(len(set(draw) & set(GOOD)) for draw in draws) > 7 * len(draws)


def test_a_part_takes_as_many_candidates_as_it_says_and_draws_differ() -> None:
    correct = np.random.default_rng(0).random((64, 16)) < 0.5
    draws = [taken(correct, Shape(32, 4, own=False), draw) for draw in (1, 2)]
    assert [len(draw) for draw in draws] == [4, 4]
    assert draws[0] != draws[1]


def test_whoever_answers_every_question_has_none_of_its_own() -> None:
    assert list(parts("48x32", 64)) == [Shape(48, 32, own=False), Shape(48, 32, own=True)]
    assert list(parts("48x64", 64)) == [Shape(48, 64, own=False)]
