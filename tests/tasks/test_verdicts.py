from __future__ import annotations

import pytest

from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.text import rounded_up
from thickets.tasks.results.verdicts import verdict
from thickets.tasks.statistics import paired_difference


def difference(n_better: int, n_worse: int, n: int) -> Difference:
    ours = [True] * n_better + [False] * (n - n_better)
    theirs = [False] * n_better + [True] * n_worse + [False] * (n - n_better - n_worse)
    return paired_difference(ours, theirs)


def test_a_clear_gain_is_better_and_a_clear_loss_worse() -> None:
    gain, loss = difference(40, 10, 200), difference(10, 40, 200)
    better, worse = verdict(gain, "the ensemble", "the base"), verdict(loss, "the ensemble", "the base")
    assert (better.kind, worse.kind) == ("better", "worse")
    assert better.sentence.startswith("The ensemble is better than the base: +15.0 [")
    assert better.sentence.endswith("points on 200 test examples (40 gained, 10 lost).")
    assert worse.sentence.startswith("The ensemble is worse than the base: -15.0 [")


def test_what_cannot_be_told_says_how_many_examples_would_tell() -> None:
    found = verdict(difference(12, 10, 100), "the ensemble", "the base")
    assert found.kind == "not distinguishable"
    assert found.sentence.startswith("The ensemble is not distinguishable from the base: +2.0 [")
    # 22 % judged differently, 2 % apart: 4,315 by the formula of `examples_needed`.
    assert found.sentence.endswith("to tell a difference of this size, about 4,400 would be needed.")


def test_no_number_of_examples_tells_nothing_from_nothing() -> None:
    assert "no number of examples" in verdict(difference(5, 5, 100), "a", "b").sentence


@pytest.mark.parametrize(("n_better", "n_worse"), [(5, 0), (8, 2), (9, 2), (14, 6), (0, 0), (3, 11)])
def test_the_verdict_follows_the_interval(n_better: int, n_worse: int) -> None:
    found = difference(n_better, n_worse, 64)
    assert (verdict(found, "a", "b").kind != "not distinguishable") == found.is_clear


@pytest.mark.parametrize(("count", "text"), [(1, "1"), (61, "61"), (101, "110"), (3391, "3,400"), (10_000, "10,000")])
def test_a_number_of_examples_keeps_two_digits(count: int, text: str) -> None:
    assert rounded_up(count) == text
