"""A pilot's shares: nobody starved, the same from the same answers, every beginning of a population kept."""

from __future__ import annotations

from itertools import islice

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sigma import Draw, compare, even_split, take, with_pilot
from benchmarks.synthetic_scores import Situation, synthetic_scores
from thickets.tasks.adaptive.pilot import learn, shift, spread_out
from thickets.tasks.results.pilot import Pilot, PilotSigma
from thickets.tasks.seeds import population
from thickets.tasks.selection.luck import SigmaCounts, abilities

MILLION = 1_000_000
evens = st.floats(0, 1)


def outcomes_of(sigma: np.ndarray | pl.Series, right: list[list[bool]]) -> pl.DataFrame:
    """What each candidate made of every question, with full marks for right answers."""
    scores = [[1000 * answer for answer in row] for row in right]
    return pl.DataFrame({"sigma": sigma, "correct": right, "score": scores})


@st.composite
def answers(draw: st.DrawFn) -> pl.DataFrame:
    """A pilot's answers: two to five sigmas, at least three candidates each."""
    n_sigmas, n_questions = draw(st.integers(2, 5)), draw(st.integers(1, 12))
    n = n_sigmas * 3 + draw(st.integers(0, 8))
    # All alike, all right and all wrong are in it too.
    chance = draw(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), min_size=n_sigmas, max_size=n_sigmas))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sigma = np.arange(n) % n_sigmas
    right = rng.random((n, n_questions)) < np.take(chance, sigma)[:, None]
    return outcomes_of((sigma + 1) / 10, right.tolist())


def pilot_of(*millionths: int, n: int = 6) -> Pilot:
    rows = [
        PilotSigma(sigma=place / 10, n_candidates=3, n_correct=1, spread=0.1, millionths=share)
        for place, share in enumerate(millionths, start=1)
    ]
    return Pilot(n_candidates=n, n_questions=10, sigmas=tuple(rows))


def made(means: list[float], spreads: list[float], n: int = 90, n_questions: int = 200, seed: int = 0) -> pl.DataFrame:
    table = synthetic_scores(Situation(means, spreads, easiness=1.0), n, (n_questions, 0, 1), seed)
    right = table.correct[1:, :n_questions]
    return outcomes_of(table.population["sigma"], right.tolist())


@settings(deadline=None)
@given(answers(), evens)
def test_shares_are_a_whole_and_nobody_gets_less_than_its_even_part(outcomes: pl.DataFrame, even: float) -> None:
    found = learn(outcomes, even)
    shares = [row.millionths for row in found.sigmas]
    assert sum(shares) == MILLION
    assert min(shares) >= MILLION * even / len(shares) - 2  # whole millionths
    assert [row.sigma for row in found.sigmas] == sorted(set(outcomes["sigma"]))
    assert sum(row.n_candidates for row in found.sigmas) == found.n_candidates == outcomes.height
    total = sum(map(sum, outcomes["correct"].to_list()))
    assert sum(row.n_correct for row in found.sigmas) == total


@settings(deadline=None)
@given(answers(), evens, st.randoms())
def test_neither_the_order_of_candidates_nor_that_of_questions_decides_anything(
    outcomes: pl.DataFrame, even: float, random: st.DataObject
) -> None:
    rows, questions = list(range(outcomes.height)), list(range(len(outcomes["correct"][0])))
    random.shuffle(rows)  # type: ignore[attr-defined]
    random.shuffle(questions)  # type: ignore[attr-defined]
    asked = [[right[question] for question in questions] for right in outcomes["correct"].to_list()]
    found, again = learn(outcomes, even), learn(outcomes_of(outcomes["sigma"], asked)[rows], even)
    for one, other in zip(found.sigmas, again.sigmas, strict=True):
        # Sums of doubles in another order: at most the last of the millionths.
        assert abs(one.millionths - other.millionths) <= 2
        assert (one.sigma, one.n_candidates, one.n_correct) == (other.sigma, other.n_candidates, other.n_correct)


@given(st.lists(st.integers(0, MILLION), min_size=1, max_size=6).filter(any), st.integers(0, 300))
def test_every_beginning_has_the_shares_as_nearly_as_it_can(shares: list[int], n: int) -> None:
    places = list(islice(spread_out(shares), n))
    for place, share in enumerate(shares):
        assert abs(places.count(place) - n * share / sum(shares)) < len(shares)
        if share == 0:
            assert place not in places


@given(st.lists(st.integers(1, MILLION), min_size=2, max_size=4), st.integers(0, 60), st.integers(0, 60))
def test_a_smaller_population_is_the_beginning_of_a_larger_one(shares: list[int], size: int, more: int) -> None:
    sigmas = [place / 10 for place in range(1, len(shares) + 1)]
    pilot = pilot_of(*shares)
    large = shift(population(size + more, sigmas, 1), pilot)
    assert large.head(size).equals(shift(population(size, sigmas, 1), pilot))


def test_seeds_and_the_beginning_stay_and_ids_name_the_new_sigmas() -> None:
    even = population(106, [0.1, 0.2, 0.3], 5)
    shifted = shift(even, pilot_of(700_000, 300_000, 0))
    assert shifted["seed"].equals(even["seed"])
    assert shifted.head(6).equals(even.head(6))
    assert shifted.schema == even.schema
    assert dict(shifted.slice(6).group_by("sigma").len().iter_rows()) == {0.1: 70, 0.2: 30}
    same = shifted["sigma"] == even["sigma"]
    assert (shifted["candidate_id"] == even["candidate_id"]).equals(same)
    assert shifted["candidate_id"].n_unique() == 106


def test_equal_sigmas_get_equal_shares_and_a_lead_is_followed() -> None:
    alike = outcomes_of(pl.Series([0.1, 0.2, 0.3] * 4), [[True, False, True]] * 12)
    assert [row.millionths for row in learn(alike, 0.0).sigmas] == [333_334, 333_333, 333_333]
    better = learn(made([0.5, 0.5, 0.7], [0.03, 0.03, 0.03]), 0.1).sigmas
    assert better[2].share > 0.9
    assert [row.share for row in better[:2]] == pytest.approx([0.1 / 3] * 2, abs=1e-4)


def test_a_sigma_whose_candidates_differ_more_is_worth_more_than_its_mean() -> None:
    """The best of many come from where the spread is, even from a slightly worse mean."""
    found = learn(made([0.50, 0.47], [0.005, 0.08], n=120), 0.0)
    assert found.accuracy(found.sigmas[0]) > found.accuracy(found.sigmas[1])
    assert found.sigmas[1].share > 0.95


def test_noise_is_no_spread() -> None:
    """Few questions make the scores of equal candidates differ; what they truly differ by is told apart."""
    found = learn(made([0.5, 0.5], [0.0, 0.10], n=240, n_questions=60), 0.0)
    assert found.sigmas[0].spread < 0.03
    assert found.sigmas[1].spread == pytest.approx(0.10, abs=0.02)


def test_what_is_expected_of_a_candidate_is_a_probability_and_an_integral() -> None:
    """The excess over a bar is the integral of the probability to lie above it."""
    rows = made([0.4], [0.05], n=30)["correct"].to_list()
    right = np.array(rows)
    known = abilities(SigmaCounts(0.1, right.sum(axis=1).tolist(), right.sum(axis=0).tolist()))
    assert known is not None
    bars = np.linspace(0.45, 1.5, 4001)
    chances = np.array([known.above(bar) for bar in bars])
    assert known.above(-5) == pytest.approx(1)
    assert known.above(known.mean) == pytest.approx(0.5)
    assert (np.diff(chances) <= 0).all()
    assert known.excess(0.45) == pytest.approx(np.trapezoid(chances, bars), rel=1e-3)


def test_figures_do_not_change_between_versions() -> None:
    # Whoever resumes or extends a run must get the population it had.
    right = [
        [(7 * who + 3 * asked * asked + who * asked) % 11 < 5 - who % 3 for asked in range(40)] for who in range(18)
    ]
    shares = [row.millionths for row in learn(outcomes_of(pl.Series([0.1, 0.2, 0.3] * 6), right), 0.1).sigmas]
    assert shares == [382_436, 583_768, 33_796]
    assert list(islice(spread_out([500_000, 300_000, 200_000]), 10)) == [0, 1, 2, 0, 0, 1, 0, 2, 1, 0]


def test_a_replay_compares_populations_that_share_what_they_can_at_equal_cost() -> None:
    table = synthetic_scores(Situation((0.5, 0.4), (0.02, 0.02)), 400, (40, 0, 20), seed=3)
    by_sigma = [np.arange(place, 400, 2) for place in (0, 1)]
    draw = Draw(table, by_sigma, np.arange(40), np.arange(40, 60), table.truth)
    even, places = even_split(2, 200), with_pilot(draw, 200, 40, 0.1, 40)
    assert places[:40] == even[:40]
    assert len(places) == 200
    assert places.count(0) > 150
    rows, plain = take(draw, places), take(draw, even)
    assert rows is not None
    assert plain is not None
    assert len(set(rows)) == 200
    assert set(plain) & set(rows) == {*by_sigma[0][:100], *by_sigma[1][: places.count(1)]}
    assert take(draw, [0] * 201) is None
    found = compare(iter([draw]), 200, 5)
    assert found["pilot 40, even 0.1"]["answers"] == 100
    assert 0 < found["pilot 40, even 0.1, raced"]["answers"] <= 100
    assert found["pilot 40, even 0.1"]["share 1"] == 100 * places.count(0) / 200
