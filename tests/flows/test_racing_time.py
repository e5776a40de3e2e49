"""What racing saves in seconds, from the times of two blocks."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console
from rich.table import Table

from thickets.flows.cli.tables_search import estimate_table, estimates_table
from thickets.flows.config.run import RunConfig
from thickets.flows.search.estimate import EstimateOfMany, estimate
from thickets.flows.search.racing_time import RacingTime, UnitTime, racing_time

FOUR_ROUNDS, ALIVE = [50] * 4, [999.0, 700.0, 490.0, 343.0]


def raced(unit: UnitTime, *, plain_block: int = 1024, n_engines: int = 1) -> RacingTime:
    return racing_time(unit, FOUR_ROUNDS, ALIVE, 50, plain_block, n_engines)


def test_where_answers_take_turns_racing_saves_what_it_does_not_ask() -> None:
    """A processor: time in proportion to the questions."""
    found = raced(UnitTime(0.3, ((25, 5.0), (50, 10.0)), 64), plain_block=256)
    assert found.plain_s == pytest.approx(1000 * (0.3 + 40))
    assert found.raced_s == pytest.approx((1000 + 701 + 491 + 344) * 10.3)
    assert found.raced_at_best_s == pytest.approx((1000 + 3 * 51) * 10.3)
    assert found.advice is None
    assert str(found).startswith("saves about ")


def test_where_a_block_takes_as_long_as_its_longest_answer_racing_costs_more_and_is_advised_against() -> None:
    """An estimate for a 1.5 B model on an H100: 50 questions take three quarters of the time of 200."""
    found = raced(UnitTime(0.3, ((50, 1.22), (200, 1.58)), 1024))
    assert found.plain_s == pytest.approx(1000 * 1.88)
    assert found.saved_s < -1900
    assert found.advice is not None
    assert "in blocks of up to 200" in found.advice
    assert "even if" not in found.advice, "with the best K alone after the first block it would save a little"
    assert str(found).startswith("costs about ")
    dearer = raced(UnitTime(3.0, ((50, 1.22), (200, 1.58)), 1024))
    assert "even if every hopeless one is dropped" in (dearer.advice or "")


def test_engines_share_the_time_of_both() -> None:
    unit = UnitTime(0.3, ((50, 1.22), (200, 1.58)), 1024)
    one, four = raced(unit), raced(unit, n_engines=4)
    assert (four.raced_s, four.plain_s) == (one.raced_s / 4, one.plain_s / 4)


@pytest.mark.parametrize(
    ("measured", "n", "expected"),
    [
        (((10, 2.0),), 5, 1.0),  # one size: in proportion
        (((10, 2.0), (20, 3.0)), 40, 2 * 3.0),  # two turns of the largest batch
        (((10, 2.0), (20, 3.0)), 15, 2.5),
        (((10, 3.0), (20, 2.0)), 10, 2.0),  # more questions never take less
        (((10, 0.1), (20, 3.0)), 10, 1.5),  # and the first is not for nothing
    ],
)
def test_a_block_lies_on_the_line_through_two(measured: tuple, n: int, expected: float) -> None:
    assert UnitTime(0.0, measured, 20)(n) == pytest.approx(expected)


def test_an_estimate_shows_the_seconds_and_the_advice(config: Callable[..., RunConfig]) -> None:
    found = estimate(config(scoring={"examples_per_block": 5, "racing": {}}))
    assert found.racing is not None
    assert found.racing.plain_block == 12
    costs = found.racing.model_copy(update={"raced_s": 7200.0, "plain_s": 3600.0})
    dear = found.model_copy(update={"racing": costs})
    assert "costs about 1 h" in shown(estimate_table(dear))
    assert "leave out scoring.racing" in shown(estimate_table(dear))
    cheap = dear.model_copy(update={"racing": costs.model_copy(update={"raced_s": 600.0})})
    assert "saves about 50 min" in shown(estimate_table(cheap))
    assert "leave out scoring.racing" not in shown(estimate_table(cheap))
    both = EstimateOfMany(problems=(cheap, dear), completions={}, tokens=0, tokens_at_most=0, seconds=0.0, disk_bytes=0)
    assert shown(estimates_table(both)).count("leave out scoring.racing") == 1


def shown(table: Table) -> str:
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()
