"""Which merges are tried: each model once, farther where the farthest is the best, and how many at most."""

from __future__ import annotations

import polars as pl

from thickets.tasks.merging.counts import count_merges
from thickets.tasks.merging.trials import Line, double_radii, plan_lines, plan_trials

# Right answers of 40.
COUNTS = {0.1: [2, 38, 20, 10, 30, 24], 0.2: [19, 21, 20, 23, 18, 22]}
DIRECTIONS = ("best", "z_score", "rank")


def boards(counts: dict[float, list[int]]) -> tuple[pl.DataFrame, pl.DataFrame]:
    rows = [
        (10 * place + index, sigma, 1000 * n)
        for place, (sigma, each) in enumerate(counts.items())
        for index, n in enumerate(each)
    ]
    schema = {"seed": pl.UInt64, "sigma": pl.Float64, "points": pl.Int64}
    scored = pl.DataFrame(rows, schema=schema, orient="row")
    return scored.sort("points", descending=True), scored


def lines(counts: dict[float, list[int]] = COUNTS, directions: tuple = DIRECTIONS, k: tuple = (1, 3)) -> list[Line]:
    board, scored = boards(counts)
    return plan_lines(board, scored, directions, k)


def test_every_model_is_tried_once_and_no_more_than_are_counted() -> None:
    trials = plan_trials(lines(), (1.0, 2.0))
    assert len(trials) == len({trial.merge.id for trial in trials}) == 9  # K = 1 is its own average
    assert [trial.label for trial in trials[:3]] == [
        f"merge of {who} best at {r}" for who, r in ((1, 1), (1, 2), (3, "0.577"))
    ]
    assert len(trials) <= count_merges(DIRECTIONS, (1, 3), 2, 12).validation == 10


def test_a_radius_is_doubled_where_the_farthest_merge_alone_is_the_best() -> None:
    found = lines(directions=("z_score", "rank"))
    trials = plan_trials(found, (0.5, 1.0))
    rising = {trial.merge.id: int(10 * trial.radius) for trial in trials}
    assert [(trial.direction, trial.radius) for trial in double_radii(found, trials, rising)] == [
        ("z_score", 2.0),
        ("rank", 2.0),
    ]
    level = dict.fromkeys(rising, 7)
    assert double_radii(found, trials, level) == []


def test_the_cost_of_searches_is_counted() -> None:
    counts = count_merges(("best", "z_score"), (2, 3), 2, 9, doublings=2, coordinate_steps=4)
    assert (counts.selection, counts.planned, counts.tuned) == (9, 2 * 5 + 4, 1)
    assert counts.noises == {"selection": 81, "validation": 5 * 5 + 9 * 4 + 9, "test": 9}
