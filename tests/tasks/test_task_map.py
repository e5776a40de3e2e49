"""The map of candidates by tasks against answers that are known, and its figure."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from thickets.tasks.evaluation.discordance import TaskScores
from thickets.tasks.evaluation.task_map import best_share, overlap, sigma_map
from thickets.tasks.figures.task_map import MOST_ROWS, shades, shown_rows, task_map
from thickets.tasks.figures.theme import PAGE, PRINT
from thickets.tasks.results.task_map import MappedCandidate, MappedTask, SigmaMap
from thickets.tasks.types import FULL


def staircase(order: list[int], n_questions: int) -> np.ndarray:
    """Candidate i has the first ``order[i]`` questions right."""
    return FULL * (np.arange(n_questions) < np.array(order)[:, None]).astype(np.int64)


def placed(orders: list[list[int]], base: list[int], experts: list[list[int]] | None = None, n: int = 12) -> SigmaMap:
    names = [f"{place:016x}@0.1" for place in range(len(orders[0]))]
    chosen = experts or [[] for _ in orders]
    tasks = [
        TaskScores(f"task {place}", staircase(order, n), np.isin(np.arange(len(order)), which))
        for place, (order, which) in enumerate(zip(orders, chosen, strict=True))
    ]
    return sigma_map(0.1, names, tasks, [staircase([each], n)[0] for each in base])


def test_a_map_by_hand() -> None:
    found = placed([[0, 6, 12], [6, 7, 6]], base=[6, 3], experts=[[2], [1]])
    by_seed = sorted(found.candidates, key=lambda each: each.candidate_id)
    assert [each.over_base for each in by_seed] == [
        pytest.approx((-0.5, 0.25)),
        pytest.approx((0.0, 4 / 12)),
        pytest.approx((0.5, 0.25)),
    ]
    assert [each.percentiles for each in by_seed] == [
        pytest.approx((1 / 6, 2 / 6)),
        pytest.approx((3 / 6, 5 / 6)),
        pytest.approx((5 / 6, 2 / 6)),
    ]
    assert [each.is_expert for each in by_seed] == [(False, False), (False, True), (True, False)]
    # McNemar: 6 to 0 is p = 0.031, 3 to 0 and 4 to 0 are 0.25 and 0.125.
    assert [each.differs for each in by_seed] == [(True, False), (False, False), (True, False)]
    # Mean percentiles 1/4, 2/3, 7/12: rows fall.
    assert [each.candidate_id[15] for each in found.candidates] == ["1", "2", "0"]


def test_rows_with_equal_means_are_in_the_order_of_their_ids_whatever_came_first() -> None:
    found = placed([[1, 2], [2, 1]], base=[1, 1])
    assert [each.candidate_id[15] for each in found.candidates] == ["0", "1"]
    assert {each.mean_percentile for each in found.candidates} == {0.5}


def test_the_best_candidate_is_one_of_its_own_sigma_and_task() -> None:
    found = placed([list(range(12)), [5] * 12], base=[6, 6])
    assert [best.observed.n_correct for best in found.best] == [11, 5]
    assert found.best[0].is_more_than_luck
    assert not found.best[1].is_more_than_luck
    assert found.best[0].n_candidates == 12


def test_ties_at_the_edge_share_the_places() -> None:
    assert best_share(np.array([5, 3, 3, 3, 1]), 2) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0])
    assert best_share(np.array([2, 2, 2, 2]), 1) == pytest.approx([0.25] * 4)
    assert best_share(np.array([4, 1, 3]), 2) == pytest.approx([1, 0, 1])


def test_equal_tasks_have_all_in_common_and_opposed_ones_nothing() -> None:
    up, down = list(range(12)), list(range(12))[::-1]
    found = placed([up, up, down], base=[6, 6, 6]).overlap
    assert found is not None
    assert (found.n_best, found.by_chance) == (3, 0.25)
    assert (found.shares[0][1], found.shares[0][2], found.shares[2][1]) == (1, 0, 0)
    assert found.is_outside(0, 1)
    assert not found.is_outside(0, 2), "nothing in common is what chance often gives"
    assert not found.is_outside(0, 0)


def test_chance_gives_what_the_hypergeometric_distribution_says() -> None:
    rng = np.random.default_rng(3)
    n, n_best = 40, 10
    tables = [staircase(rng.permutation(n).tolist(), n) for _ in range(2)]
    found = overlap(tables)
    low, high = stats.hypergeom(n, n_best, n_best).interval(0.95)
    assert (found.low[0][1], found.high[0][1]) == pytest.approx((low / n_best, high / n_best), abs=0.1)
    assert found.low[0][1] == found.low[1][0]


def test_a_task_that_ranks_nobody_has_nothing_in_common_with_any() -> None:
    found = placed([list(range(12)), [4] * 12], base=[6, 6]).overlap
    assert found is not None
    assert (found.shares[0][1], found.shares[1][1]) == (None, None)
    assert found.shares[0][0] is not None
    assert not found.is_outside(0, 1)


def test_independent_tasks_are_seldom_outside_what_chance_gives() -> None:
    rng = np.random.default_rng(8)
    outside = [
        overlap([staircase(rng.integers(0, 9, size=20).tolist(), 9) for _ in range(2)], seed).is_outside(0, 1)
        for seed in range(60)
    ]
    assert sum(outside) <= 8


def test_few_candidates_have_no_overlap() -> None:
    found = placed([[1, 2, 3], [3, 2, 1]], base=[1, 1])
    assert (len(found.candidates), found.overlap) == (3, None)


def many(n: int, experts: set[int]) -> list[MappedCandidate]:
    return [
        MappedCandidate(
            candidate_id=f"{place}@0.1",
            over_base=((place % 7 - 3) / 20, 0.0),
            percentiles=(0.5, 0.5),
            differs=(False, True),
            is_expert=(place in experts, False),
        )
        for place in range(n)
    ]


def test_of_too_many_rows_the_experts_and_an_even_choice_are_shown() -> None:
    assert shown_rows(many(5, set())) == [0, 1, 2, 3, 4]
    rows = shown_rows(many(1000, {3, 501, 998}))
    assert len(rows) == MOST_ROWS
    assert rows == sorted(rows)
    assert {0, 3, 501, 998, 999} <= set(rows)
    assert max(b - a for a, b in pairwise(rows)) <= 10
    assert shown_rows(many(300, set(range(300)))) == list(range(300))


def test_one_scale_holds_every_value_and_is_the_same_above_and_below() -> None:
    found = SigmaMap(sigma=0.1, candidates=tuple(many(9, set())), best=(), overlap=None)
    scale = shades([found])
    assert scale[0].low == 0
    assert [shade.high for shade in scale[:-1]] == [shade.low for shade in scale[1:]]
    assert scale[-1].high >= 0.15
    assert sorted(shade.strength for shade in scale) == [shade.strength for shade in scale]
    wide = found.candidates[0].model_copy(update={"over_base": (-1.0, 0.9)})
    assert shades([found.model_copy(update={"candidates": (wide,)})])[-1].high == 1
    still = found.candidates[0].model_copy(update={"over_base": (0.0, 0.0)})
    assert len(shades([found.model_copy(update={"candidates": (still,)})])) == 1


@pytest.mark.parametrize("n", [1, 16, 1000])
@pytest.mark.parametrize("theme", [PAGE, PRINT], ids=["page", "print"])
def test_it_can_be_drawn_at_its_limits(n: int, theme: object) -> None:
    found = SigmaMap(sigma=0.1, candidates=tuple(many(n, {0})), best=(), overlap=None)
    tasks = [MappedTask(task=name, n_questions=9, base=0.5) for name in ("_a$b", "reasoning_gym:letter_counting")]
    figure = task_map(found, tasks, shades([found]), theme)  # type: ignore[arg-type]
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    assert len(out.getvalue()) < 400_000
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert [label.rpartition("\n")[2] for label in labels] == ["base 50 %"] * 2
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert len(numbers) == (0 if n > 100 else 2 * n)
    assert n > 100 or numbers[0] == "-15"
    [outlined] = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[3] == 0]
    assert outlined.get_path().get_extents().get_points()[:, 0] == pytest.approx([-0.47, 0.47]), "the first task's"
    assert outlined.get_path().get_extents().get_points()[:, 1] == pytest.approx([-0.44, 0.44]), "the first candidate's"
