"""Who goes on in a race: never too few, never without those who cannot be beaten, and the same from the same scores."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.racing import HALVINGS, PER_CANDIDATE, Draw, race
from benchmarks.synthetic_scores import SITUATIONS, Situation, synthetic_scores
from thickets.tasks.adaptive.racing import Rule, final_score, go_on, hopeless_points, n_needed
from thickets.tasks.results.racing import Race, RaceRound
from thickets.tasks.selection.diversity import pool_size

CERTAIN = 1000.0
zs = st.floats(0.01, 5)


def board(counts: list[int]) -> pl.DataFrame:
    """Candidates of these scores; seeds fall with the row, so that ties go to the later one."""
    n = len(counts)
    return pl.DataFrame(
        {
            "candidate_id": [f"c{row}" for row in range(n)],
            "seed": list(range(n, 0, -1)),
            "sigma": [0.1] * n,
            "points": [1000 * count for count in counts],
        },
        schema_overrides={"seed": pl.UInt64, "points": pl.Int64},
    )


def names(frame: pl.DataFrame) -> list[str]:
    return frame["candidate_id"].to_list()


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, int, int]:
    """Who has which question right, how many were asked so far, and how many are needed."""
    n_candidates, n = draw(st.integers(1, 14)), draw(st.integers(2, 24))
    right = np.array(draw(st.lists(st.booleans(), min_size=n_candidates * n, max_size=n_candidates * n)))
    return right.reshape(n_candidates, n), draw(st.integers(1, n - 1)), draw(st.integers(1, n_candidates))


@settings(deadline=None)
@given(tables())
def test_whoever_is_among_the_best_in_the_end_is_not_dropped_by_what_is_certain(
    table: tuple[np.ndarray, int, int],
) -> None:
    right, n_asked, k = table
    n = right.shape[1]
    alive = go_on(board(right[:, :n_asked].sum(axis=1).tolist()), n_asked, n, Rule(k, CERTAIN))
    final = go_on(board(right.sum(axis=1).tolist()), n, n, Rule(k, CERTAIN))
    assert set(names(final)[:k]) <= set(names(alive))


@settings(deadline=None)
@given(tables())
def test_whoever_is_dropped_by_what_is_certain_could_not_have_come_back(table: tuple[np.ndarray, int, int]) -> None:
    """The rule is sharp: whoever stays is among the best if it has all the rest right and the others nothing."""
    right, n_asked, k = table
    n = right.shape[1]
    counts = right[:, :n_asked].sum(axis=1)
    alive = set(names(go_on(board(counts.tolist()), n_asked, n, Rule(k, CERTAIN))))
    for row in range(len(counts)):
        lucky = counts.copy()
        lucky[row] += n - n_asked
        best = names(go_on(board(lucky.tolist()), n, n, Rule(k, CERTAIN)))[:k]
        assert (f"c{row}" in best) == (f"c{row}" in alive)


@settings(deadline=None)
@given(tables(), zs, st.none() | st.floats(0.01, 0.99))
def test_never_fewer_than_needed_and_the_best_first(
    table: tuple[np.ndarray, int, int], z: float, keep: float | None
) -> None:
    right, n_asked, k = table
    start = board(right[:, :n_asked].sum(axis=1).tolist())
    alive = go_on(start, n_asked, right.shape[1], Rule(k, z, keep))
    everybody = go_on(start, n_asked, n_asked, Rule(k, z))  # after the last question nobody goes
    assert everybody.height == start.height
    assert alive.height >= k
    assert names(alive) == names(everybody)[: alive.height]  # from the bottom, so nobody better than one who stays
    if keep is not None:
        assert alive.height <= max(k, math.ceil(keep * start.height))


@settings(deadline=None)
@given(tables(), zs, zs)
def test_a_larger_z_drops_nobody_more(table: tuple[np.ndarray, int, int], one: float, other: float) -> None:
    right, n_asked, k = table
    start = board(right[:, :n_asked].sum(axis=1).tolist())
    narrow, wide = (go_on(start, n_asked, right.shape[1], Rule(k, z)) for z in sorted((one, other)))
    assert set(names(narrow)) <= set(names(wide))


@settings(deadline=None)
@given(tables(), zs, st.randoms())
def test_the_order_of_the_rows_decides_nothing(
    table: tuple[np.ndarray, int, int], z: float, random: st.DataObject
) -> None:
    right, n_asked, k = table
    start = board(right[:, :n_asked].sum(axis=1).tolist())
    rows = list(range(start.height))
    random.shuffle(rows)  # type: ignore[attr-defined]
    rule = Rule(k, z, 0.5)
    assert go_on(start[rows], n_asked, right.shape[1], rule).equals(go_on(start, n_asked, right.shape[1], rule))


@given(st.integers(2, 300), st.data(), zs)
def test_the_interval_of_a_final_score_is_never_wider_than_what_is_certain(
    n: int, data: st.DataObject, z: float
) -> None:
    asked = data.draw(st.integers(1, n))
    count = data.draw(st.integers(0, asked))
    low, high = final_score(count, asked, n, z)
    assert count <= low <= high <= count + n - asked
    # The share of those asked is inside, unless what is certain cuts it off.
    assert low - 1e-9 <= max(count, n * count / asked)
    assert high + 1e-9 >= min(count + n - asked, n * count / asked)
    if count < asked:
        more_low, more_high = final_score(count + 1, asked, n, z)
        assert more_low >= low - 1e-9
        assert more_high >= high - 1e-9


def test_the_interval_is_wilsons_for_a_split_without_end_and_a_point_in_the_end() -> None:
    # 81 of 263 at 95 %, as tabulated by Newcombe (1998, Statistics in Medicine 17, 857-872).
    low, high = final_score(81, 263, 10**9, 1.959964)
    assert (low / 10**9, high / 10**9) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert final_score(7, 20, 20, 1.64) == (7, 7)
    widths = [np.subtract(*final_score(n // 2, n, 200, 1.64)[::-1]) for n in (20, 60, 100, 140, 180)]
    assert widths == sorted(widths, reverse=True)


def test_ten_of_twenty_five_questions_say_as_much_as_sixteen_of_many() -> None:
    """The finite population correction: 10 * 24 / 15 = 16."""
    wilson = stats.binomtest(8, 16).proportion_ci(0.95, method="wilson")
    assert final_score(5, 10, 25, 1.959964) == pytest.approx((25 * wilson.low, 25 * wilson.high), abs=1e-4)


def test_hopeless_points_are_the_most_whose_interval_ends_below() -> None:
    cut = hopeless_points(20_000, 32, 128, 1.64)
    low = final_score(20, 32, 128, 1.64)[0]
    assert 0 < cut < 20_000
    assert final_score(cut / 1000, 32, 128, 1.64)[1] < low <= final_score((cut + 1) / 1000, 32, 128, 1.64)[1]
    assert hopeless_points(1000, 32, 128, 1.64) == -1
    assert hopeless_points(0, 32, 128, 1.64) == -1


@settings(max_examples=300)
@given(st.integers(2, 200), st.data(), zs)
def test_right_answers_are_hopeless_as_they_were_when_they_were_counted(n: int, data: st.DataObject, z: float) -> None:
    asked = data.draw(st.integers(1, n - 1))
    to_beat = data.draw(st.integers(0, asked))
    low, count = final_score(to_beat, asked, n, z)[0], -1
    while count + 1 < to_beat and final_score(count + 1, asked, n, z)[1] < low:
        count += 1
    cut = hopeless_points(1000 * to_beat, asked, n, z)
    assert [c for c in range(to_beat) if 1000 * c <= cut] == list(range(count + 1))


def test_a_tie_that_cannot_be_won_is_no_reason_to_go_on() -> None:
    # After 9 of 10 questions: c0 may draw level with c1 and c2, but has the larger seed, and ties go to the smaller.
    alive = go_on(board([5, 6, 6]), 9, 10, Rule(2, CERTAIN))
    assert names(alive) == ["c2", "c1"]
    # The other way round it would win them.
    alive = go_on(board([6, 6, 5]), 9, 10, Rule(2, CERTAIN))
    assert names(alive) == ["c1", "c0", "c2"]


def test_diverse_needs_its_pool() -> None:
    assert n_needed(("top_k",), 9) == 9
    assert n_needed(("top_k", "diverse"), 9) == pool_size(9)


def test_what_a_race_asked_is_counted_from_its_rounds() -> None:
    rounds = [RaceRound(n_questions=q, n_candidates=c) for q, c in ((10, 40), (10, 40), (10, 20), (5, 6))]
    race = Race(z=1.64, keep=None, rounds=tuple(rounds))
    assert (race.n_questions, race.n_common, race.n_complete) == (35, 20, 6)
    assert (race.n_answers, race.n_answers_of_all) == (1030, 1400)
    assert race.saved == pytest.approx(370 / 1400)


def test_a_replayed_race_asks_less_and_what_is_certain_costs_nothing() -> None:
    table = synthetic_scores(SITUATIONS["as quickstart"], 120, (64, 0, 64), seed=1)
    draw = Draw(np.arange(120), np.arange(64), np.arange(64, 128), table.truth)
    whole = race(table, draw, 64, Rule(5, CERTAIN), 5)
    assert whole.answers == 120 * 64
    certain, raced = (race(table, draw, 16, Rule(5, z), 5) for z in (CERTAIN, 1.64))
    assert raced.answers < certain.answers < whole.answers
    assert certain.best.tolist() == whole.best.tolist()
    assert certain.vote == whole.vote
    assert raced.whole < certain.whole
    right = table.correct[1:, :64].sum(axis=1)
    assert sorted(right[whole.best].tolist(), reverse=True) == sorted(right.tolist(), reverse=True)[:5]


def test_a_made_table_has_the_truth_it_was_made_from() -> None:
    situation = Situation((0.7, 0.3), (0.1, 0.0))
    table = synthetic_scores(situation, 200, (2000, 0, 1000), seed=0)
    assert table.correct.shape == table.votes.shape == (201, 3000)
    found = table.correct[1:].mean(axis=1)
    # Questions are drawn too: all scores move together, and apart by little.
    assert np.abs(found - table.truth).mean() < 0.03
    assert np.corrcoef(found, table.truth)[0, 1] > 0.99
    assert table.truth[1::2].std() == 0
    assert 0.08 < table.truth[::2].std() < 0.12
    assert ((table.votes == "right") == table.correct).all()


def test_every_halving_costs_the_same_in_the_long_run() -> None:
    assert {round(block / (1 - keep)) for block, keep in HALVINGS.values()} == {PER_CANDIDATE}
