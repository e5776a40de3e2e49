"""Score tables whose truth is known (no effect, a true effect, luck alone): how often is what a run would say right?

Every rate is held against what is stated for it, with room for chance: a bound that a correct rate crosses in fewer
than 1 of 1000 test runs.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest
from scipy import stats

from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.thicket import BestCandidate
from thickets.tasks.results.verdicts import verdict
from thickets.tasks.selection.luck import SigmaCounts, best_candidate
from thickets.tasks.statistics import examples_needed, paired_difference

REPETITIONS = 500


@cache
def compared(n_better: int, n_worse: int, n: int) -> tuple[Difference, str]:
    """A difference and its verdict; both depend on nothing but these counts."""
    ours = [True] * n_better + [False] * (n - n_better)
    theirs = [False] * n_better + [True] * n_worse + [False] * (n - n_better - n_worse)
    found = paired_difference(ours, theirs)
    return found, verdict(found, "the ensemble", "the base").kind


def at_most(rate: float, n: int = REPETITIONS) -> int:
    return int(stats.binom.isf(0.001, n, rate))


def at_least(rate: float, n: int = REPETITIONS) -> int:
    return int(stats.binom.ppf(0.001, n, rate))


def tables(seed: int, n: int, gained: float, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Base and ensemble, `[REPETITIONS, n]`: the base has 40 %; of the questions, these shares are gained and lost."""
    rng = np.random.default_rng(seed)
    base = rng.random((REPETITIONS, n)) < 0.4
    change = np.where(base, lost / 0.4, gained / 0.6)
    return base, base ^ (rng.random((REPETITIONS, n)) < change)


def judged(base: np.ndarray, ensemble: np.ndarray) -> list[tuple[Difference, str]]:
    n_better, n_worse = (ensemble & ~base).sum(axis=1), (base & ~ensemble).sum(axis=1)
    return [compared(int(b), int(w), base.shape[1]) for b, w in zip(n_better, n_worse, strict=True)]


@pytest.mark.parametrize(("n", "changed"), [(64, 0.05), (64, 0.2), (64, 0.4), (128, 0.1), (256, 0.05)])
def test_without_an_effect_a_verdict_of_better_or_worse_is_as_rare_as_stated(n: int, changed: float) -> None:
    kinds = Counter(kind for _, kind in judged(*tables(n, n, changed / 2, changed / 2)))
    assert kinds["better"] + kinds["worse"] <= at_most(0.05)
    assert max(kinds["better"], kinds["worse"]) <= at_most(0.025)


@pytest.mark.parametrize(("gained", "lost"), [(0.25, 0.05), (0.3, 0.12)])
def test_a_true_effect_is_found_as_often_as_stated(gained: float, lost: float) -> None:
    per_thousand = round(1000 * gained), round(1000 * lost)
    n = examples_needed(*per_thousand, 1000)
    assert n is not None
    found = judged(*tables(n, n, gained, lost))
    kinds = Counter(kind for _, kind in found)
    assert at_least(0.79) <= kinds["better"] <= at_most(0.84)
    assert kinds["worse"] == 0
    covered = sum(difference.low <= gained - lost <= difference.high for difference, _ in found)
    assert covered >= at_least(0.935)


def test_a_loss_is_found_as_a_gain_is() -> None:
    kinds = Counter(kind for _, kind in judged(*tables(5, 64, 0.05, 0.35)))
    assert kinds["worse"] >= at_least(0.95)
    assert kinds["better"] == 0


class Populations:
    """Populations of candidates on questions of very different difficulty, scored as a run scores them.

    Three sigmas of `n_candidates`, each candidate with a skill of its own of this spread (in logits); the base has
    skill 0. The best of the selection split then answers a test split of 64 further questions, and so does the base.
    """

    def __init__(self, seed: int, spread: float, n_candidates: int = 16, n: int = 64, repetitions: int = 500) -> None:
        self.repetitions = repetitions
        self.found: list[BestCandidate] = []
        self.truth: list[float] = []
        self.kinds: Counter[str] = Counter()
        rng = np.random.default_rng(seed)
        everything = stats.norm.ppf((np.arange(1000) + 0.5) / 1000, -0.6, 1.5)
        for _ in range(repetitions):
            questions, test = rng.normal(-0.6, 1.5, n), rng.normal(-0.6, 1.5, 64)
            skills = rng.normal(0, spread, (3, n_candidates))
            right = rng.random((3, n_candidates, n)) < expit(skills[..., None] + questions)
            groups = [SigmaCounts(s, of.sum(axis=1).tolist(), of.sum(axis=0).tolist()) for s, of in enumerate(right)]
            sigma, place = np.unravel_index(right.sum(axis=2).argmax(), skills.shape)
            best_skill = skills[sigma, place]
            self.found.append(best_candidate(groups, float(sigma)))
            self.truth.append(float(expit(best_skill + everything).mean()))
            best, base = rng.random(64) < expit(best_skill + test), rng.random(64) < expit(test)
            self.kinds[compared(int((best & ~base).sum()), int((base & ~best).sum()), 64)[1]] += 1

    def mean_error(self, name: str) -> float:
        values = [each.observed.value if name == "observed" else getattr(each, name) for each in self.found]
        return float(np.mean(np.asarray(values) - self.truth))

    def covered(self) -> int:
        pairs = zip(self.found, self.truth, strict=True)
        return sum(each.corrected_low <= truth <= each.corrected_high for each, truth in pairs)


def expit(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_where_all_candidates_are_equal_the_best_is_called_luck_and_loses_its_lead() -> None:
    luck = Populations(seed=0, spread=0)
    assert sum(each.is_more_than_luck for each in luck.found) <= at_most(0.05, luck.repetitions)
    # The best of 48 looks 11 points better than it is; luck's forecast of that is right, and the correction takes off
    # two thirds of it (16 candidates per sigma leave room for some real spread).
    assert luck.mean_error("observed") > 0.10
    assert luck.mean_error("by_luck") == pytest.approx(luck.mean_error("observed"), abs=0.01)
    assert abs(luck.mean_error("corrected")) < 0.4 * luck.mean_error("observed")
    assert luck.covered() >= at_least(0.93, luck.repetitions)
    assert sum(each.observed.low <= truth for each, truth in zip(luck.found, luck.truth, strict=True)) < 0.6 * 500
    # And on a test split, where nothing was chosen, the best candidate is rarely taken for better than the base.
    assert luck.kinds["better"] + luck.kinds["worse"] <= at_most(0.05, luck.repetitions)


@pytest.mark.parametrize("spread", [0.3, pytest.param(0.8, marks=pytest.mark.slow)])
def test_where_candidates_differ_the_correction_is_right_on_average_and_covers_the_truth(spread: float) -> None:
    real = Populations(seed=1, spread=spread)
    assert abs(real.mean_error("corrected")) < 0.02 < real.mean_error("observed")
    assert real.covered() >= at_least(0.93, real.repetitions)


def test_a_spread_that_is_there_is_found() -> None:
    real = Populations(seed=2, spread=0.8, n_candidates=50, n=100, repetitions=100)
    assert sum(each.is_more_than_luck for each in real.found) >= 95
    assert real.kinds["better"] >= 80
