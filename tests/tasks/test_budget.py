"""The waves of a budget: never beyond what is left, never larger than what they were forecast from, and they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.tasks.adaptive.budget import RESERVE, Need, affordable, next_wave


def test_what_the_rest_of_the_run_needs_is_put_aside() -> None:
    need = Need(per_answer=10.0, answers_per_candidate=20.0, answers_later=100, fixed=50.0)
    later = RESERVE * 100 * 10 + 50
    assert need.later == pytest.approx(later)
    assert affordable(later + 3 * 200 + 1 + 5, 5, need) == 3
    assert affordable(later, 1, need) == 0


def test_answers_that_cost_nothing_set_no_limit() -> None:
    assert affordable(100, 5, Need(0.0, 20.0, 10)) > 10**6


@given(
    n_done=st.integers(0, 5000),
    n_more=st.integers(0, 5000),
    n_affordable=st.integers(0, 10**6),
    at_once=st.integers(1, 64),
)
def test_a_wave_is_within_what_is_left(n_done: int, n_more: int, n_affordable: int, at_once: int) -> None:
    wave = next_wave(n_done, n_done + n_more, n_affordable, at_once)
    assert 0 <= wave <= min(n_more, n_affordable)
    assert wave <= max(at_once, n_done)
    assert (wave == 0) == (min(n_more, n_affordable) == 0)


@given(total=st.integers(1, 100_000), at_once=st.integers(1, 64))
def test_waves_end_with_everything_spent(total: int, at_once: int) -> None:
    n_done, n_waves = 0, 0
    while wave := next_wave(n_done, 10**9, total - n_done, at_once):
        n_done += wave
        n_waves += 1
    assert n_done == total
    assert n_waves < 80
