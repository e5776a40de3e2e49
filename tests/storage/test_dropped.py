"""Candidates that racing has dropped have no rank, and what is said about all is about the same questions."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.storage.storage_samples import record_judgement, write_rows
from thickets.storage.scores.database import ScoreStore
from thickets.storage.scores.reader import read_only

IDS = ["a", "b", "c"]
# Two blocks of two selection questions, and one test question.
EXAMPLES = [("selection", "s0", 0, 0), ("selection", "s1", 1, 0), ("selection", "s2", 2, 1), ("selection", "s3", 3, 1)]
RIGHT = {"base": "1011", "a": "1110", "b": "0101", "c": "1101"}


def frames() -> tuple[pl.DataFrame, pl.DataFrame]:
    candidates = pl.DataFrame(
        [("base", None, 0.0, -1), *((name, place + 1, 0.1, place) for place, name in enumerate(IDS))],
        schema={"candidate_id": pl.String, "seed": pl.UInt64, "sigma": pl.Float64, "position": pl.Int32},
        orient="row",
    )
    examples = pl.DataFrame(
        [(*row, "?", "!") for row in EXAMPLES],
        schema=["split", "example_id", "position", "block", "question", "answer"],
        orient="row",
    )
    return candidates, examples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run all of whose candidates have answered everything: `c` for another run."""
    rows = [
        (name, split, block, example, mark == "1", "!", 2, "stop", "!")
        for name, marks in RIGHT.items()
        for (split, example, _, block), mark in zip(EXAMPLES, marks, strict=True)
    ]
    verdicts = write_rows(tmp_path / "shards", "one", rows)
    record_judgement(tmp_path / "run")
    with ScoreStore.open(tmp_path / "run" / "scores.duckdb", "run", tmp_path / "shards") as store:
        store.register(*frames())
        store.ingest([verdicts])
    return tmp_path


def drop(folder: Path, *names: str) -> None:
    with ScoreStore.open(folder / "run" / "scores.duckdb", "run", folder / "shards") as store:
        store.record_dropped(pl.DataFrame({"candidate_id": names, "n_blocks": [1] * len(names)}))


def test_without_a_race_everything_is_about_everything(folder: Path) -> None:
    with read_only(folder / "run", folder / "shards") as reader:
        board = reader.leaderboard()
        assert board["candidate_id"].to_list() == ["a", "c", "b"]
        common = reader.common_scores()
        assert common.drop("squares").equals(board.select(common.drop("squares").columns))
        assert reader.common_base() == (3, 4, 3000, 3_000_000)
        assert reader.rounds().rows() == [(0, 2, 3), (1, 2, 3)]
        assert reader.totals("selection")["n_answers"][0] == 12


def test_dropped_candidates_have_no_rank_and_all_are_judged_by_what_all_were_asked(folder: Path) -> None:
    drop(folder, "c")
    with read_only(folder / "run", folder / "shards") as reader:
        for ids in (reader.leaderboard(), reader.query("FROM leaderboard")):
            assert ids["candidate_id"].to_list() == ["a", "b"]
        common = reader.common_scores()
        assert common.select("candidate_id", "n_correct", "n").rows() == [("a", 2, 2), ("c", 2, 2), ("b", 1, 2)]
        by_view = reader.query("SELECT candidate_id, n_correct FROM common_accuracy ORDER BY candidate_id")
        assert by_view.rows() == [("a", 2), ("b", 1), ("base", 1), ("c", 2)]
        assert reader.common_base() == (1, 2, 1000, 1_000_000)
        assert reader.answer_counts()["n"].to_list() == [2, 6]
        assert reader.rounds().rows() == [(0, 2, 3), (1, 2, 2)]
        [row] = reader.sigma_statistics().rows(named=True)
        assert (row["n_candidates"], row["n_examples"], row["base_n_correct"]) == (3, 2, 1)
        assert (row["mean_n_correct"], row["n_at_least_base"]) == (pytest.approx(5 / 3), 3)
        assert [row["correct"] for row in reader.candidate_outcomes().rows(named=True)] == [
            [True, True], [False, True], [True, True],
        ]  # fmt: skip
        assert reader.question_counts()["n_correct"].to_list() == [2, 3]
        assert reader.query("FROM example_difficulty")["example_id"].to_list() == ["s0", "s1"]
        # What c answered after it was dropped, it answered for somebody else.
        totals = reader.totals("selection").row(0, named=True)
        assert (totals["n_answers"], totals["n_tokens"], totals["base_n_answers"]) == (10, 20, 4)
        assert reader.sums_in_blocks("selection", 1)["n_correct"].to_list() == [2, 1, 2]


def test_the_first_outcomes_are_whole_whatever_racing_has_dropped(folder: Path) -> None:
    """A pilot was asked everything before anybody was dropped, and must say the same when the run goes on."""
    drop(folder, "a", "c")
    with read_only(folder / "run", folder / "shards") as reader:
        found = reader.first_outcomes("selection", 2)
    assert found.select("candidate_id", "sigma").rows() == [("a", 0.1), ("b", 0.1)]  # neither the base nor the third
    assert found["correct"].to_list() == [[mark == "1" for mark in RIGHT[name]] for name in "ab"]


def test_who_was_dropped_can_be_said_again_and_otherwise(folder: Path) -> None:
    drop(folder, "c")
    drop(folder, "c")
    drop(folder, "b", "c")
    with read_only(folder / "run", folder / "shards") as reader:
        assert reader.leaderboard()["candidate_id"].to_list() == ["a"]
    drop(folder)
    with read_only(folder / "run", folder / "shards") as reader:
        assert reader.leaderboard().height == 3


def test_a_reader_that_comes_while_the_run_goes_on_sees_the_race_too(folder: Path) -> None:
    drop(folder, "c")
    with (
        ScoreStore.open(folder / "run" / "scores.duckdb", "run", folder / "shards"),
        read_only(folder / "run", folder / "shards") as reader,
    ):
        assert reader.is_snapshot
        assert reader.leaderboard()["candidate_id"].to_list() == ["a", "b"]
