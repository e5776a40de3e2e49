"""Aggregation, selection and evaluation on a real database with known answers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.judges import JUDGE
from tests.storage.storage_samples import VERDICTS, write_rows
from thickets.storage.errors import RunError
from thickets.tasks.aggregation import ScoreBook, check_complete
from thickets.tasks.evaluation.ensemble import choose, choose_on_validation, evaluate
from thickets.tasks.results.evaluation import CurvePoint, Method, VoteRule
from thickets.tasks.scoring.units import Block
from thickets.tasks.seeds import population
from thickets.tasks.selection.ranking import rank_candidates, top_k
from thickets.tasks.statistics import accuracy
from thickets.tasks.types import Example

POPULATION = population(4, [0.001, 0.002], 0)
IDS = POPULATION["candidate_id"].to_list()
BLOCKS = [
    Block(split, 0, tuple(Example(f"{split}{i}", f"{split} {i}?", "1") for i in range(4)), ("",) * 4)
    for split in ("selection", "validation", "test")
]
# Correct answers are "1". Per split: base, then the four candidates in the order of the population.
ANSWERS = {
    "selection": ["0000", "1110", "0110", "1110", "0000"],
    "validation": ["0011", "1000", "1010", "0010", "0000"],
    "test": ["0001", "1000", "1100", "0110", "1111"],
}


@pytest.fixture
def book(tmp_path: Path) -> ScoreBook:
    for split, answers in ANSWERS.items():
        rows = [
            (who, split, 0, f"{split}{place}", answer == "1", answer, 3, "stop", answer)
            for who, given in zip(["base", *IDS], answers, strict=True)
            for place, answer in enumerate(given)
        ]
        write_rows(tmp_path / "shards", split, rows)
    made = ScoreBook(tmp_path / "scores.duckdb", tmp_path / "shards", "run", POPULATION, BLOCKS, JUDGE, VERDICTS)
    made.aggregate()
    return made


def test_aggregation_reports_every_finished_unit(book: ScoreBook) -> None:
    done = book.aggregate()
    assert done.height == 15
    check_complete(done, ["base", *IDS], "test", 1)


def test_a_hole_in_the_scores_is_refused(book: ScoreBook) -> None:
    done = book.aggregate().filter(~((pl.col("split") == "test") & (pl.col("candidate_id") == IDS[2])))
    check_complete(done, IDS, "validation", 1)
    with pytest.raises(RunError, match=f"1 candidates have no complete score on the test split, the first is {IDS[2]}"):
        check_complete(done, IDS, "test", 1)


def test_the_best_come_first_and_ties_go_to_the_smaller_seed(book: ScoreBook) -> None:
    with book.open() as store:
        best = top_k(store, 3)
    tied = sorted([IDS[0], IDS[2]], key=lambda name: int(name[:16], 16))
    assert best["candidate_id"].to_list() == [*tied, IDS[1]]
    assert best["n_correct"].to_list() == [3, 3, 2]
    assert best["rank"].to_list() == [1, 2, 3]


def test_k_is_chosen_among_the_values_asked_for_and_on_validation_alone(book: ScoreBook) -> None:
    with book.open() as store:
        best = top_k(store, 3)
    choice, points = choose_on_validation.fn(book, {"top_k": best}, (2, 3), ("majority",))
    # Two experts that differ: the better one decides, one right. Three: 1000, 0010 and 1010 give 1010, two right.
    majority = {point.k: point.accuracy.n_correct for point in points if point.rule == "majority"}
    assert majority == {1: 1, 2: 1, 3: 2}
    assert {(point.k, point.rule) for point in points} == {(k, r) for k in (1, 2, 3) for r in ("majority", "weighted")}
    assert (choice.method, choice.rule, choice.k) == ("top_k", "majority", 3)
    assert choose_on_validation.fn(book, {"top_k": best}, (1, 2), ("majority",))[0].k == 1
    assert choose_on_validation.fn(book, {"top_k": best}, (2,), ("majority",))[0].k == 2


def test_every_method_and_rule_has_its_curve_and_only_listed_ones_are_chosen(book: ScoreBook) -> None:
    methods: tuple[Method, ...] = ("diverse", "top_k", "shrunken")
    rankings = rank_candidates.fn(book, methods, 3)
    assert tuple(rankings) == methods
    choice, points = choose_on_validation.fn(book, rankings, (1, 3), ("weighted",))
    every = {(m, r, k) for m in methods for r in ("majority", "weighted") for k in (1, 2, 3)}
    assert {(point.method, point.rule, point.k) for point in points} == every
    # By hand: diverse begins like top_k, then takes 1010 (0110 on selection), so all three see the same three experts.
    assert (choice.method, choice.rule, choice.k) == ("diverse", "weighted", 3)
    assert choice.accuracy.n_correct == 2


def point(method: Method, rule: VoteRule, k: int, n_correct: int) -> CurvePoint:
    return CurvePoint(method=method, rule=rule, k=k, accuracy=accuracy(n_correct, 20))


def test_the_best_on_validation_wins_then_the_smaller_k_then_the_order_listed() -> None:
    points = [
        point("top_k", "majority", 5, 12),
        point("shrunken", "weighted", 3, 12),
        point("shrunken", "majority", 3, 12),
        point("diverse", "majority", 9, 13),
        point("top_k", "majority", 3, 11),
        point("top_k", "weighted", 3, 12),
    ]
    listed: tuple[tuple[Method, ...], tuple[VoteRule, ...]] = ("top_k", "shrunken", "diverse"), ("majority", "weighted")
    assert choose(points, *listed) is points[3]
    del points[3]
    assert choose(points, *listed) is points[4]
    assert choose(points[:3], *listed) is points[2]
    assert choose(points, ("shrunken", "top_k"), ("majority", "weighted")) is points[2]
    assert choose(points, ("shrunken", "top_k"), ("weighted", "majority")) is points[1]
    assert choose(points[:1], *listed) is points[0]


def test_the_test_split_is_counted_as_it_is(book: ScoreBook) -> None:
    with book.open() as store:
        best = top_k(store, 3)
        found = evaluate(store, best, 3, "majority")
        single = "1000" if best["candidate_id"][0] == IDS[0] else "0110"
    assert (found.base.n_correct, found.base.n) == (1, 4)
    assert found.best_single.n_correct == single.count("1")
    assert found.ensemble.n_correct == 2  # 1000, 1100, 0110 give 1100
    assert found.ensemble_minus_base.value == pytest.approx(0.25)
    assert [point.k for point in found.test_curve] == [1, 2, 3]


def test_the_best_single_expert_need_not_be_among_those_that_vote(book: ScoreBook) -> None:
    with book.open() as store:
        best = top_k(store, 4)
        others = best.tail(3).with_columns(rank=pl.Series([1, 2, 3], dtype=pl.Int32))
        found = evaluate(store, others, 3, "majority", method="diverse", best_single=best["candidate_id"][0])
        own = evaluate(store, others, 3, "majority")
    of_ids = dict(zip(IDS, ANSWERS["test"][1:], strict=True))
    assert found.best_single.n_correct == of_ids[best["candidate_id"][0]].count("1")
    assert own.best_single.n_correct == of_ids[others["candidate_id"][0]].count("1")
    assert (found.method, {p.method for p in found.test_curve}) == ("diverse", {"diverse"})
    assert found.n_tokens.best_single == 12
    assert found.ensemble == own.ensemble
