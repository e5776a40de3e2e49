"""Aggregation, selection and evaluation on a real database with known answers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from storage.errors import RunError
from storage.shards import SHARD_SCHEMA, write_shard
from tasks.aggregation import ScoreBook, check_complete
from tasks.ensemble import choose_k_on_validation, evaluate
from tasks.seeds import population
from tasks.selection import top_k
from tasks.types import Example
from tasks.units import Block

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
        write_shard(tmp_path / "shards", split, pl.DataFrame(rows, schema=SHARD_SCHEMA, orient="row"))
    made = ScoreBook(tmp_path / "scores.duckdb", tmp_path / "shards", "run", POPULATION, BLOCKS)
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
    k, points = choose_k_on_validation.fn(book, best, (2, 3), "majority")
    # Two experts that differ: the better one decides, one right. Three: 1000, 0010 and 1010 give 1010, two right.
    majority = {point.k: point.accuracy.n_correct for point in points if point.rule == "majority"}
    assert majority == {1: 1, 2: 1, 3: 2}
    assert {(point.k, point.rule) for point in points} == {(k, r) for k in (1, 2, 3) for r in ("majority", "weighted")}
    assert k == 3
    assert choose_k_on_validation.fn(book, best, (1, 2), "majority")[0] == 1
    assert choose_k_on_validation.fn(book, best, (2,), "majority")[0] == 2


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
