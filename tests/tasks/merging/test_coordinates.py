"""The coordinate search on scores with a known best, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from thickets.tasks.merging.coordinates import MOST_BLOCKS, climb, most_scored
from thickets.tasks.types import Candidate, Merge

THREE = Merge(tuple(Candidate(seed, 0.1) for seed in (1, 2, 3)), (0.5, 0.5, 0.5))


class Judge:
    """Scores a merge by how near its coefficients are to some, and keeps what it was asked."""

    def __init__(self, best: dict[int, float]) -> None:
        self.best, self.asked = best, []

    def __call__(self, merges: Sequence[Merge]) -> list[int]:
        self.asked += [merge.id for merge in merges]
        return [self._one(merge) for merge in merges]

    def _one(self, merge: Merge) -> int:
        here = {member.seed: c for member, c in zip(merge.members, merge.coefficients, strict=True)}
        return -round(1000 * sum((here.get(seed, 0) - wanted) ** 2 for seed, wanted in self.best.items()))


def coefficients(merge: Merge) -> dict[int, float]:
    return {member.seed: c for member, c in zip(merge.members, merge.coefficients, strict=True)}


def test_it_leaves_out_doubles_and_keeps_what_the_scores_ask_for() -> None:
    found = climb(THREE, 3, Judge({1: 1.0, 2: 0.0, 3: 0.5}))
    assert coefficients(found.merge) == {1: 1.0, 3: 0.5}
    assert (found.before, found.after, found.n_moves, found.n_blocks) == (-500, 0, 2, 3)


def test_later_passes_take_smaller_strides_and_may_bring_back_what_was_left_out() -> None:
    found = climb(THREE, 9, Judge({1: 0.5, 2: 0.125, 3: 0.625}))
    assert coefficients(found.merge) == {1: 0.5, 2: 0.125, 3: 0.625}


def test_nothing_better_is_the_merge_it_began_with_and_no_model_is_scored_twice() -> None:
    judge = Judge(coefficients(THREE))
    found = climb(THREE, 6, judge)
    assert found.merge == THREE
    assert found.n_moves == 0
    assert len(judge.asked) == len(set(judge.asked)) == len(found.scored) == most_scored(6) == 13
    assert most_scored(0) == 0


def test_many_candidates_move_in_blocks_of_like_coefficients() -> None:
    many = Merge(tuple(Candidate(seed, 0.1) for seed in range(1, 25)), tuple((-1.0) ** seed for seed in range(1, 25)))
    wanted = {seed: max(c, 0.0) for seed, c in coefficients(many).items()}  # those that count backwards do harm
    found = climb(many, MOST_BLOCKS, Judge(wanted))
    assert found.n_blocks == MOST_BLOCKS
    assert {seed for seed, c in coefficients(found.merge).items() if c < 0} == set()
    assert found.merge.members == tuple(member for member in many.members if member.seed % 2 == 0)  # in their order


def test_an_equal_score_moves_nothing() -> None:
    found = climb(THREE, 6, lambda merges: [7] * len(merges))
    assert (found.merge, found.n_moves) == (THREE, 0)


def test_the_largest_coefficients_are_the_first_to_move() -> None:
    uneven = Merge(THREE.members, (0.25, 1.0, 0.5))
    assert coefficients(climb(uneven, 1, Judge({1: 0.5, 2: 2.0, 3: 1.0})).merge) == {1: 0.25, 2: 2.0, 3: 0.5}


def test_a_single_candidate_never_vanishes() -> None:
    one = Merge((Candidate(1, 0.1),), (1.0,))
    assert climb(one, 2, Judge({1: 0.0})).merge.coefficients == (0.5,)


@pytest.mark.parametrize("n_steps", [1, 5])
def test_the_same_scores_give_the_same_search(n_steps: int) -> None:
    assert climb(THREE, n_steps, Judge({1: 0.8, 2: 0.3, 3: 0.1})) == climb(
        THREE, n_steps, Judge({1: 0.8, 2: 0.3, 3: 0.1})
    )
