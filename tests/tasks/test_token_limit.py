"""The rule that learns a limit from lengths: what it counts, its bounds, and when it keeps the problem's own."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thickets.tasks.adaptive.token_limit import FEWEST_ANSWERS, FLOOR, learn_limit

Row = tuple[bool, int, str]


def answers(rows: Sequence[Row]) -> pl.DataFrame:
    schema = {"correct": pl.Boolean, "n_tokens": pl.UInt32, "finish_reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def right(*lengths: int) -> list[Row]:
    return [(True, length, "stop") for length in lengths]


@st.composite
def a_base(draw: st.DrawFn) -> tuple[list[Row], int]:
    """Answers under a limit: who is cut off has as many tokens as the limit."""
    own = draw(st.integers(1, 600))
    ended = st.tuples(st.booleans(), st.integers(1, own), st.just("stop"))
    cut_off = st.tuples(st.booleans(), st.just(own), st.just("length"))
    return draw(st.lists(ended | cut_off, max_size=60)), own


def test_the_limit_is_half_as_much_again_as_what_nearly_all_right_answers_need() -> None:
    found = learn_limit(answers([*right(*range(11, 30), 400), (False, 512, "length")]), 512)
    assert found.max_tokens == 44, "1.5 times 29, the 19th of 20 lengths"
    assert (found.n_answers, found.n_right, found.n_ended, found.longest, found.n_longer) == (21, 20, 20, 400, 1)
    assert found.sentence == (
        "limit 44 of 512 tokens, from 20 right answers of the base, the longest 400 (right answers beyond it: 1)"
    )


def test_wrong_answers_and_those_cut_off_do_not_count() -> None:
    rows = right(40, 40, 40, 40, 40, 40)
    disturbed = [*rows, (False, 300, "stop"), (False, 512, "length"), (True, 512, "length")]
    assert learn_limit(answers(disturbed), 512).max_tokens == learn_limit(answers(rows), 512).max_tokens == 60
    assert learn_limit(answers(disturbed), 512).n_longer == 1


def test_there_is_a_floor_and_the_problem_s_own_limit_is_never_exceeded() -> None:
    assert learn_limit(answers(right(*[2] * 20)), 512).max_tokens == FLOOR
    assert learn_limit(answers(right(*[2] * 20)), 12).max_tokens == 12
    assert learn_limit(answers(right(*[500] * 20)), 512).max_tokens == 512


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(False, 9, "stop")] * 30,
        right(*[9] * (FEWEST_ANSWERS - 1)),
        [(True, 512, "length")] * 30,
        [*right(*[9] * 10), *[(True, 512, "length")] * 11],
    ],
    ids=["no answers", "none right", "too few right", "none ended", "most were cut off"],
)
def test_without_enough_to_learn_from_the_problem_s_own_limit_stays(rows: list[Row]) -> None:
    found = learn_limit(answers(rows), 512)
    assert found.max_tokens == 512
    assert found.n_extra_tokens == 0
    assert found.sentence.startswith(f"limit 512 tokens, the problem's own: of {len(rows)} answers of the base ")


@settings(deadline=None)
@given(a_base())
def test_the_limit_is_within_bounds_and_covers_nearly_all_that_counts(base: tuple[list[Row], int]) -> None:
    rows, own = base
    found = learn_limit(answers(rows), own)
    assert min(FLOOR, own) <= found.max_tokens <= own
    lengths = [length for correct, length, reason in rows if correct and reason == "stop"]
    assert sum(length > found.max_tokens for length in lengths) <= 0.05 * len(lengths)
    assert found.n_tokens == sum(length for _, length, _ in rows)
    assert found.n_extra_tokens == (0 if found.max_tokens == own else found.n_tokens)


@settings(deadline=None)
@given(a_base(), st.randoms(use_true_random=False))
def test_the_order_of_answers_is_of_no_account(base: tuple[list[Row], int], chance) -> None:
    rows, own = base
    shuffled = chance.sample(rows, len(rows))
    assert learn_limit(answers(shuffled), own) == learn_limit(answers(rows), own)
