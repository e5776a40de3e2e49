"""Scores between wrong and right in the database: what ranks, what is counted, and a whole evaluation of such rows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from thickets.storage.scores.database import BASE_ID, ScoreStore
from thickets.storage.scores.sql import connect
from thickets.tasks.evaluation.controls import Controls, Guess, Panel
from thickets.tasks.evaluation.ensemble import choose, curve_points, evaluate
from thickets.tasks.evaluation.thicket import lasting, oracle, sigma_scores
from thickets.tasks.evaluation.voting import ballots
from thickets.tasks.selection.luck import best_candidate, sigma_counts
from thickets.tasks.selection.ranking import rank_by, top_k
from thickets.tasks.statistics import accuracy, paired_difference, rank_correlation
from thickets.tasks.types import Candidate

SIGMAS = (0.1, 0.2)
SPLITS = {"selection": 30, "validation": 12, "test": 16}
CANDIDATES = [Candidate(seed, SIGMAS[seed % 2]) for seed in range(1, 11)]
RIGHT_AT = 750
VIEWS = (
    "accuracy", "common_accuracy", "leaderboard", "sigma_statistics", "example_difficulty", "agreement", "throughput",
    "totals",
)  # fmt: skip


def answers(n_parts: int = 4, mean: float = 0.5, sizes: dict[str, int] | None = None) -> pl.DataFrame:
    """Rows of the table ``scores``: every answer has parts, and the score says how many of them are right."""
    rng, rows = np.random.default_rng(0), []
    for who, ability in [(BASE_ID, 0.0), *((c.id, 0.02 * c.seed) for c in CANDIDATES)]:
        for split, size in (sizes or SPLITS).items():
            for place in range(size):
                n_right = int(rng.binomial(n_parts, min(mean + ability, 1.0)))
                score = 1000 * n_right // n_parts
                rows.append(("run", who, split, f"{split}{place}", place // 5, score, score >= RIGHT_AT, f"a{n_right}"))
    names = ["run_id", "candidate_id", "split", "example_id", "block", "score", "correct", "answer"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        n_tokens=pl.lit(3), finish_reason=pl.lit("stop"), shard_id=pl.lit("by hand")
    )


def filled(rows: pl.DataFrame) -> ScoreStore:
    """A store in memory with these rows, in this order."""
    connection = connect(None)
    store = ScoreStore(connection, "run")
    store.register(
        pl.DataFrame(
            [(BASE_ID, None, 0.0, -1), *((c.id, c.seed, c.sigma, place) for place, c in enumerate(CANDIDATES))],
            schema={"candidate_id": pl.String, "seed": pl.UInt64, "sigma": pl.Float64, "position": pl.Int32},
            orient="row",
        ),
        rows.filter(candidate_id=BASE_ID)
        .with_columns(position=pl.int_range(pl.len()).over("split"), question=pl.lit("?"), answer=pl.lit("a4"))
        .select("split", "example_id", "position", "block", "question", "answer"),
    )
    connection.register("rows", rows.to_arrow())
    connection.execute("INSERT INTO scores BY NAME SELECT * FROM rows")
    return store


@pytest.fixture(scope="module")
def store() -> Iterator[ScoreStore]:
    with filled(answers()) as opened:
        yield opened


def summed(split: str, right: bool = False) -> dict[str, int]:
    value = pl.col("correct") if right else pl.col("score")
    of_split = answers().filter(pl.col("split") == split)
    return dict(of_split.group_by("candidate_id").agg(value.cast(pl.Int64).sum()).iter_rows())


def test_candidates_are_ranked_by_points_and_right_answers_are_counted_beside_them(store: ScoreStore) -> None:
    board, points, n_correct = store.leaderboard(), summed("selection"), summed("selection", right=True)
    best = sorted(CANDIDATES, key=lambda c: (-points[c.id], c.seed, c.sigma))
    assert board["candidate_id"].to_list() == [c.id for c in best]
    assert board["points"].to_list() == [points[c.id] for c in best]
    assert board["n_correct"].to_list() == [n_correct[c.id] for c in best]
    assert board["n_correct"].to_list() != sorted(board["n_correct"], reverse=True)  # or the table would prove nothing
    assert board["mean_score"].to_list() == [points[c.id] / 30_000 for c in best]
    assert board["accuracy"].to_list() == [n_correct[c.id] / 30 for c in best]
    assert store.query("FROM leaderboard")["candidate_id"].equals(board["candidate_id"])


def test_a_ranking_depends_neither_on_the_order_of_the_rows_nor_on_threads() -> None:
    found = []
    for seed in range(4):
        with filled(answers().sample(fraction=1, shuffle=True, seed=seed)) as shuffled:
            shuffled.query(f"SELECT {seed}")
            with ThreadPoolExecutor(4) as threads:
                found += threads.map(lambda _, store=shuffled: rank_by(store, "shrunken", 10), range(3))
            found += [rank_by(shuffled, "shrunken", 10)]
            diverse = rank_by(shuffled, "diverse", 5)
            assert diverse.equals(rank_by(shuffled, "diverse", 10).head(5))
    assert all(each.equals(found[0]) for each in found)


def test_the_views_sum_points(store: ScoreStore) -> None:
    points = summed("selection")
    for row in store.sigma_statistics().rows(named=True):
        of_sigma = sorted(points[c.id] for c in CANDIDATES if c.sigma == row["sigma"])
        assert (row["min_points"], row["median_points"], row["max_points"]) == (of_sigma[0], of_sigma[2], of_sigma[-1])
        assert row["mean_points"] == sum(of_sigma) / 5
        assert row["base_points"] == points[BASE_ID]
        assert row["n_at_least_base"] == sum(value >= points[BASE_ID] for value in of_sigma)
    # Asked by SQL, of all splits at once: DuckDB 2.0.0 counted all candidates as good as the base here.
    every = store.query("FROM sigma_statistics").filter(split="selection").drop("run_id")
    assert every.equals(store.sigma_statistics())
    [total] = store.totals("selection").rows(named=True)
    assert (total["points"], total["base_points"]) == (sum(points.values()) - points[BASE_ID], points[BASE_ID])
    difficulty = store.query("FROM example_difficulty WHERE split = 'selection'")
    assert difficulty["points"].sum() == total["points"]
    assert difficulty["base_score"].cast(pl.Int64).sum() == points[BASE_ID]
    sums = store.common_base()
    assert (sums.points, sums.n, sums.squares < 1000 * sums.points) == (points[BASE_ID], 30, True)
    blocks = store.sums_in_blocks("selection", 6)
    assert dict(blocks.select("candidate_id", "points").iter_rows()) == {c.id: points[c.id] for c in CANDIDATES}
    outcomes = store.candidate_outcomes()
    assert [sum(row) for row in outcomes["score"].to_list()] == [points[name] for name in outcomes["candidate_id"]]
    assert store.first_outcomes("selection", 3)["score"].list.sum().to_list() == [points[c.id] for c in CANDIDATES[:3]]


def test_numbers_above_127_are_what_they_are() -> None:
    """DuckDB 2.0.0 packs those of sigma_statistics into a byte (its pass "compressed_materialization") if it may."""
    rows = answers(n_parts=1, mean=0.8, sizes={"selection": 200})
    with filled(rows) as many:
        counts = rows.filter(pl.col("candidate_id") != BASE_ID).group_by("candidate_id").agg(pl.col("correct").sum())
        found = many.query("FROM sigma_statistics")
        assert found["max_n_correct"].max() == counts["correct"].max() > 127
        assert found["min_n_correct"].min() == counts["correct"].min() > 127
        assert found["base_n_correct"].to_list() == [rows.filter(candidate_id=BASE_ID)["correct"].sum()] * 2
        assert found["max_points"].max() == 1000 * counts["correct"].max()
        views = [many.query(f"SELECT * FROM {view} ORDER BY ALL") for view in VIEWS]
        many._connection.execute("SET disabled_optimizers = 'compressed_materialization'")
        for view, packed in zip(VIEWS, views, strict=True):
            assert many.query(f"SELECT * FROM {view} ORDER BY ALL").equals(packed), view


def test_the_test_split_is_judged_by_mean_scores(store: ScoreStore) -> None:
    ranked = top_k(store, 5)
    choice = choose(
        curve_points(ballots(store, "validation", ranked), range(1, 6), "majority"), ["top_k"], ["majority"]
    )
    assert choice.accuracy.is_graded
    guess = Controls(guess=Guess("chance", (0.5,) * 16), panels=(Panel("random_experts", "random", (CANDIDATES[0],)),))
    found = evaluate(store, ranked, 5, "majority", guess)
    points = summed("test")
    rows = answers().filter(split="test", candidate_id=BASE_ID)
    assert (found.base.points, found.base.n_correct) == (points[BASE_ID], int(rows["correct"].sum()))
    assert found.base == accuracy(found.base.n_correct, 16, points[BASE_ID], int((rows["score"] ** 2).sum()))
    assert found.base.value == points[BASE_ID] / 16_000
    assert found.best_single.points == points[ranked["candidate_id"][0]]
    assert found.ensemble_minus_base.value == pytest.approx(found.ensemble.value - found.base.value)
    assert found.ensemble_minus_base.is_graded
    # What a guess scores in part is not known.
    assert [control.name for control in found.controls] == ["random_experts"]
    [control] = found.controls
    theirs, base = (
        answers().filter(split="test", candidate_id=who)["score"] / 1000 for who in (CANDIDATES[0].id, BASE_ID)
    )
    assert control.minus_base == paired_difference(theirs.to_list(), base.to_list())
    assert oracle(ballots(store, "test", ranked)).value >= found.ensemble.value


def test_a_thicket_is_described_by_points(store: ScoreStore) -> None:
    board, base = store.common_scores(), store.common_base()
    groups = sigma_counts(board, store.question_counts())
    points = summed("selection")
    for group in groups:
        row = sigma_scores(group, base.n_correct, base.points)
        of_sigma = [points[c.id] for c in CANDIDATES if c.sigma == group.sigma]
        assert (row.quantiles[0], row.quantiles[-1], row.unit) == (min(of_sigma), max(of_sigma), 1000)
        assert row.base_total == points[BASE_ID]
        assert row.density[0].share.count == sum(value >= points[BASE_ID] for value in of_sigma)
        margin = next(point for point in row.density if point.margin_points == 10)
        assert margin.share.count == sum(value >= points[BASE_ID] + 3000 for value in of_sigma)
    best = best_candidate(
        groups, board["sigma"][0], accuracy(*board.select("n_correct", "n", "points", "squares").row(0))
    )
    assert best.observed.points == max(points[c.id] for c in CANDIDATES)
    ranked = top_k(store, 6)
    validation = summed("validation")
    pairs = [(points[name], validation[name]) for name in ranked["candidate_id"]]
    assert lasting(store, ranked, 10) == rank_correlation(*map(list, zip(*pairs, strict=True)), n_population=10)
