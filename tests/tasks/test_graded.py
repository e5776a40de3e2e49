"""Scores between wrong and right: rankings and intervals against a known truth; right or wrong as a special case."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.synthetic_scores import SITUATIONS, GradedScores, Situation, graded_scores
from thickets.tasks.adaptive.pilot import learn
from thickets.tasks.adaptive.racing import Rule, go_on
from thickets.tasks.evaluation.discordance import TaskScores, discordance
from thickets.tasks.evaluation.ensemble import choose
from thickets.tasks.evaluation.thicket import sigma_scores
from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, curve, vote
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.text import accuracy_heading, score_metrics, scored
from thickets.tasks.results.verdicts import verdict
from thickets.tasks.selection.diversity import diverse_order
from thickets.tasks.selection.luck import SigmaCounts, best_candidate, posterior_mean, sigma_counts, table_counts
from thickets.tasks.selection.ranking import plain, shrunken
from thickets.tasks.statistics import accuracy, accuracy_of, paired_difference, shares

REPETITIONS = 2000


def of(scores: np.ndarray, right_at: int = 1000) -> Accuracy:
    return accuracy_of(pl.DataFrame({"score": scores, "correct": scores >= right_at}))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_right_and_wrong_answers_have_the_figures_that_they_always_had(right: list[bool]) -> None:
    found, counted = of(1000 * np.array(right)), accuracy(sum(right), len(right))
    assert found == counted
    assert (found.points, found.is_graded, found.share_right) == (None, False, found.value)
    assert found.total == 1000 * sum(right)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.data())
@settings(deadline=None)
def test_right_and_wrong_answers_are_compared_as_they_always_were(ours: list[bool], data: st.DataObject) -> None:
    theirs = data.draw(st.lists(st.booleans(), min_size=len(ours), max_size=len(ours)))
    as_scores = [shares(pl.DataFrame({"score": [1000 * mark for mark in marks]})) for marks in (ours, theirs)]
    assert paired_difference(*as_scores) == paired_difference(ours, theirs)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.randoms())
def test_a_mean_score_is_inside_its_interval_and_does_not_depend_on_the_order(
    scores: list[int], random: st.DataObject
) -> None:
    found = of(np.array(scores), 700)
    assert found.value == sum(scores) / (1000 * len(scores))
    assert found.n_correct == sum(score >= 700 for score in scores)
    assert 0 <= found.low <= found.value <= found.high <= 1
    random.shuffle(scores)  # type: ignore[attr-defined]
    assert of(np.array(scores), 700) == found


def test_the_interval_is_narrower_than_that_of_right_or_wrong_answers_and_never_a_point() -> None:
    halves = of(np.array([500] * 30 + [400, 600]))
    whole = accuracy(16, 32)
    assert halves.value == whole.value == 0.5
    assert 0 < halves.high - halves.low < 0.3 * (whole.high - whole.low)
    assert of(np.array([500, 500])).high > 0.52  # two equal answers do not prove that all are


DISTRIBUTIONS = {
    "parts": lambda rng, shape: 250 * rng.binomial(4, 0.3, shape),
    "mostly wrong": lambda rng, shape: np.where(rng.random(shape) < 0.7, 0, rng.integers(0, 1001, shape)),
    "ends and middle": lambda rng, shape: rng.choice([0, 500, 1000], shape, p=[0.4, 0.2, 0.4]),
    "anything": lambda rng, shape: rng.integers(0, 1001, shape),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("n", [20, 64, 200])
def test_the_interval_of_a_mean_score_covers_the_truth_in_95_of_100(name: str, n: int) -> None:
    rng = np.random.default_rng(n)
    truth = DISTRIBUTIONS[name](rng, 10**6).mean() / 1000
    drawn = DISTRIBUTIONS[name](rng, (REPETITIONS, n))
    found = [accuracy(0, n, int(row.sum()), int((row**2).sum())) for row in drawn]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert (0.93 if n > 20 else 0.915) <= covered <= 0.97


def test_a_paired_difference_of_scores_finds_no_effect_where_there_is_none_and_covers_one_that_is_there() -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(150):
        base = 250 * rng.binomial(4, rng.beta(2, 2, 64))
        same = 250 * rng.binomial(4, 0.5, 64)
        other = 250 * rng.binomial(4, 0.7, 64)  # 0.2 above the other two
        found.append((paired_difference(same / 1000, base / 1000), paired_difference(other / 1000, same / 1000)))
    assert sum(none.is_clear for none, _ in found) <= stats.binom.isf(0.001, 150, 0.06)
    assert sum(gap.low <= 0.2 <= gap.high for _, gap in found) >= stats.binom.ppf(0.001, 150, 0.93)
    assert all(gap.is_graded and gap.n_better > gap.n_worse for _, gap in found)


def test_scores_are_compared_by_who_is_higher_and_reckoned_with_by_how_much() -> None:
    found = paired_difference([0.5, 1.0, 0.2, 0.7], [0.25, 0.5, 0.3, 0.7])
    assert (found.n_better, found.n_worse, found.is_graded) == (2, 1, True)
    assert found.value == pytest.approx(0.1625)
    small, large = (paired_difference(np.full(40, 0.5) + [gain, 0.02] * 20, np.full(40, 0.5)) for gain in (0.03, 0.3))
    assert small.examples_needed is not None
    assert large.examples_needed is not None
    # The share of answers that differ is the same; how many are needed is a matter of the variance.
    assert small.examples_needed < large.examples_needed
    assert verdict(found, "the ensemble", "the base").sentence.startswith(
        "The ensemble is not distinguishable from the base: +16.2 "
    )
    assert "points of the mean score on 4 test examples (2 higher, 1 lower)" in verdict(found, "a", "b").sentence


def board_of(points: np.ndarray, sigmas: np.ndarray) -> pl.DataFrame:
    """Leaderboard of a table `[n_candidates, n_questions]`; seeds are row numbers."""
    frame = pl.DataFrame(
        {
            "candidate_id": [f"c{row}" for row in range(len(points))],
            "seed": range(len(points)),
            "sigma": sigmas,
            "n_correct": (points >= 750).sum(axis=1),
            "n": points.shape[1],
            "points": points.sum(axis=1),
        }
    )
    return frame.sort(["points", "seed", "sigma"], descending=[True, False, False])


def question_sums(points: np.ndarray, sigmas: np.ndarray) -> pl.DataFrame:
    rows = [
        (sigma, int(column.sum()), int((column**2).sum()))
        for sigma in np.unique(sigmas)
        for column in points[sigmas == sigma].T
    ]
    return pl.DataFrame(rows, schema=["sigma", "points", "squares"], orient="row")


def drawn(name: str, size: int, n: int, seed: int) -> GradedScores:
    return graded_scores(SITUATIONS[name], size, n, seed)


def test_a_made_table_has_the_truth_it_was_made_from() -> None:
    table = graded_scores(Situation((0.7, 0.3), (0.1, 0.0)), 100, 3000, seed=0)
    assert set(np.unique(table.points)) == {0, 250, 500, 750, 1000}
    assert np.abs(table.points[1:].mean(axis=1) / 1000 - table.truth).mean() < 0.03


def test_candidates_are_ranked_by_the_sum_of_their_scores() -> None:
    # The first has more right answers, the second the larger sum.
    points = np.array([[1000, 1000, 0, 0], [1000, 500, 500, 500], [1000, 1000, 500, 0]])
    ranked = plain(board_of(points, np.full(3, 0.1)), 3)
    assert ranked["candidate_id"].to_list() == ["c1", "c2", "c0"]  # a tie goes to the smaller seed
    assert ranked["weight"].to_list() == ranked["points"].to_list() == [2500, 2500, 2000]
    whole = plain(board_of(points // 1000 * 1000, np.full(3, 0.1)), 3)
    assert whole["weight"].to_list() == (whole["points"] // 1000).to_list()


def test_shrinking_keeps_the_order_within_a_sigma_and_finds_the_better_candidates() -> None:
    table = drawn("as quickstart", 150, 64, seed=3)
    sigmas, points = table.population["sigma"].to_numpy(), table.points[1:]
    board, questions = board_of(points, sigmas), question_sums(points, sigmas)
    groups = sigma_counts(board, questions)
    assert {group.unit for group in groups} == {1000}
    ranked = shrunken(board, groups, 150)
    for sigma in np.unique(sigmas):
        of_sigma = ranked.filter(pl.col("sigma") == sigma)["points"].to_list()
        assert of_sigma == sorted(of_sigma, reverse=True)
    best = [int(name[1:]) for name in ranked["candidate_id"][:10]]
    assert table.truth[best].mean() > np.quantile(table.truth, 0.9)
    expected = [posterior_mean(group, score) for group in groups for score in group.by_candidate]
    order = np.concatenate([board.filter(pl.col("sigma") == group.sigma)["seed"].to_numpy() for group in groups])
    assert (
        np.abs(np.array(expected) - table.truth[order]).mean()
        < np.abs(np.array([s / g.full for g in groups for s in g.by_candidate]) - table.truth[order]).mean()
    )


@given(st.integers(0, 10**6))
@settings(deadline=None)
def test_counts_and_thousandths_of_the_same_answers_give_the_same_figures(seed: int) -> None:
    """What is done with graded scores is, for right or wrong answers, what is done with counts."""
    right = np.random.default_rng(seed).random((12, 20)) < 0.5
    as_counts = table_counts(0.1, 1000 * right, 1)
    as_points = table_counts(0.1, 1000 * right, 1000)
    assert as_counts == SigmaCounts(0.1, right.sum(axis=1).tolist(), right.sum(axis=0).tolist())
    assert as_points.variance == pytest.approx(as_counts.variance)
    count = max(as_counts.by_candidate)
    assert posterior_mean(as_points, 1000 * count) == pytest.approx(posterior_mean(as_counts, count), rel=1e-6)
    counted, pointed = sigma_scores(as_counts, 9), sigma_scores(as_points, 9, 9000)
    assert counted.density == pointed.density
    assert [1000 * value for value in counted.quantiles] == list(pointed.quantiles)
    assert (counted.unit, pointed.unit, counted.base_total, pointed.base_total) == (1, 1000, 9000, 9000)


def test_where_all_candidates_are_equal_the_best_is_called_luck_and_where_they_differ_it_is_not() -> None:
    p_values, lead, luck = [], [], []
    for seed in range(100):
        table = graded_scores(Situation((0.5,), (0.0,), easiness=1.5), 40, 64, seed)
        group = table_counts(0.1, table.points[1:], 1000)
        found = best_candidate([group], 0.1, of(table.points[1:][np.argmax(group.by_candidate)]))
        p_values.append(found.p_value)
        lead.append(found.observed.value - table.points[1:].mean() / 1000)
        luck.append(found.by_luck - table.points[1:].mean() / 1000)
    assert np.sum(np.array(p_values) < 0.05) <= stats.binom.isf(0.001, 100, 0.05)
    assert np.mean(luck) == pytest.approx(np.mean(lead), rel=0.05)
    points = graded_scores(Situation((0.5,), (0.15,)), 40, 64, 0).points[1:]
    differ = table_counts(0.1, points, 1000)
    assert best_candidate([differ], 0.1, of(points[np.argmax(differ.by_candidate)])).is_more_than_luck


def test_diversity_shares_errors_and_counts_scores() -> None:
    right = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]], dtype=bool)
    points = np.array([3900, 3800, 3000])
    # After the first: the second shares two errors, 3.8 - 2; the third none, 3.0.
    assert diverse_order(right, 3, points) == [0, 2, 1]
    assert diverse_order(right, 3, np.array([5000, 5000, 2000])) == [0, 1, 2]  # what it has in parts outweighs them


def test_racing_keeps_the_best_of_graded_candidates_and_asks_less() -> None:
    kept, answers, n, k = [], 0, 64, 10
    names = ("closer than in practice", "as products", "as quickstart", "all equal")
    for seed, name in enumerate(names * 8):
        table = drawn(name, 90, n, seed)
        points, alive = table.points[1:], np.arange(90)
        for asked in (16, 32, 48, 64):
            answers += 16 * len(alive)
            board = pl.DataFrame(
                {"row": alive, "seed": alive, "sigma": 0.1, "points": points[alive, :asked].sum(axis=1)}
            )
            alive = go_on(board, asked, n, Rule(k, 1.64))["row"].to_numpy()
        best = np.lexsort((np.arange(90), -points.sum(axis=1)))[:k]
        kept.append(np.isin(best, alive).mean())
    assert np.mean(kept) >= 0.99
    assert answers < 0.95 * len(kept) * 90 * n


@given(st.integers(0, 10**6), st.integers(1, 11), st.integers(1, 6))
@settings(deadline=None)
def test_whoever_is_dropped_by_what_is_certain_could_not_have_come_back(seed: int, asked: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    points, rows = rng.choice([0, 300, 500, 1000], (8, 12)), np.arange(8)

    def after(n: int, sums: np.ndarray) -> list[int]:
        board = pl.DataFrame({"row": rows, "seed": rows[::-1], "sigma": 0.1, "points": sums})
        return go_on(board, n, 12, Rule(k, 1000.0))["row"].to_list()

    alive = set(after(asked, points[:, :asked].sum(axis=1)))
    assert set(after(12, points.sum(axis=1))[:k]) <= alive
    for row in rows:
        lucky = points[:, :asked].sum(axis=1)
        lucky[row] += 1000 * (12 - asked)
        assert (row in after(12, lucky)[:k]) == (row in alive)


def test_a_vote_has_the_score_of_its_answer_and_weights_are_scores() -> None:
    worth = {"a": 1000, "b": 400, "c": 0}
    said = [["b", "a", None], ["b", "c", None], ["a", "a", None]]
    rows = [
        (rank, weight, f"e{place}", answer, answer == "a", worth.get(answer, 0))
        for rank, (weight, answers) in enumerate(zip([700, 700, 1500], said, strict=True), start=1)
        for place, answer in enumerate(answers)
    ]
    cast = pl.DataFrame(rows, schema=BALLOT_SCHEMA, orient="row")
    found = vote(cast, 3)
    assert found["score"].to_list() == [400, 1000, 0]
    assert found["correct"].to_list() == [False, True, False]
    assert vote(cast, 3, "weighted")["score"].to_list() == [1000, 1000, 0]
    assert curve(cast, [3]).rows() == [(3, 1, 3, 1400, 400**2 + 1000**2)]
    assert scored(accuracy_of(found)).endswith(", 33.3 % right")


def test_validation_chooses_by_the_sum_of_scores() -> None:
    more_right, more_points = (
        CurvePoint(k=k, rule="majority", accuracy=accuracy(*sums))
        for k, sums in [(1, (6, 10, 6000, 6_000_000)), (3, (5, 10, 7000, 5_800_000))]
    )
    assert choose([more_right, more_points], ["top_k"], ["majority"]) == more_points


def test_a_pilot_learns_from_scores_between_wrong_and_right() -> None:
    table = graded_scores(Situation((0.5, 0.5, 0.7), (0.03, 0.03, 0.03), easiness=1.0), 90, 200, 0)
    sigmas, points = table.population["sigma"], table.points[1:]
    outcomes = pl.DataFrame({"sigma": sigmas, "correct": (points >= 750).tolist(), "score": points.tolist()})
    found = learn(outcomes, 0.1)
    assert found.sigmas[2].share > 0.9
    assert found.accuracy(found.sigmas[2]) == points[sigmas.to_numpy() == found.sigmas[2].sigma].mean() / 1000
    assert found.sigmas[2].n_correct == (points[sigmas.to_numpy() == found.sigmas[2].sigma] >= 750).sum()


def test_discordance_ranks_by_scores() -> None:
    nobody = np.zeros(30, dtype=bool)
    # No answer has full marks: by right answers alone, nobody differs from anybody.
    parts = np.clip(drawn("as quickstart", 30, 60, 1).points[1:], 0, 750)
    assert discordance(0.1, [TaskScores(name, parts >= 1000, nobody) for name in "ab"]).value is None
    found = discordance(0.1, [TaskScores(name, parts, nobody) for name in "ab"])
    assert found.value == pytest.approx(0, abs=1e-12)
    assert discordance(0.1, [TaskScores(name, parts, nobody) for name in "ab"]) == found


def test_a_mean_score_is_called_so_and_has_the_share_that_is_right_beside_it() -> None:
    graded, plain_one = of(np.array([1000, 500, 0, 300])), accuracy(2, 4)
    assert accuracy_heading([plain_one, graded], "test") == "test mean score [95 % Wilson]"
    assert accuracy_heading([plain_one], "test") == "test accuracy [95 % Wilson]"
    assert scored(plain_one) == "50.0 % [15.0, 85.0]"
    assert scored(graded).startswith("45.0 % [")
    assert scored(graded).endswith("], 25.0 % right")
    metrics = score_metrics("test.base.", graded, is_graded=True)
    assert (metrics["test.base.accuracy"], metrics["test.base.mean_score"]) == (0.25, 0.45)
    assert set(score_metrics("", plain_one, is_graded=False)) == {"accuracy", "accuracy_low", "accuracy_high"}
