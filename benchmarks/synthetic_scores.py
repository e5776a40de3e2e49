"""Score tables with a known truth: candidates whose accuracy is drawn, and whose answers are drawn from it.

Whether a candidate answers a question right is a coin with probability `logistic(ability + easiness)`: candidates of a
sigma have normal abilities, questions normal easiness. All candidates answer the same questions, so the easiness is
common to all and tells no two of them apart. Wrong answers are drawn from a few, some likelier than others, as in
life: else no vote would ever go wrong. Three of the tables are calibrated on real ones (`docs/racing.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, special

from thickets.tasks.seeds import population
from thickets.tasks.types import FULL

_WRONG = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Situation:
    """Accuracies of the candidates of each sigma, in shares of the questions.

    Attributes:
        means: Mean accuracy of the candidates of each sigma.
        spreads: Standard deviation of their true accuracies.
        easiness: Standard deviation of the questions' easiness, in logits.
    """

    means: Sequence[float]
    spreads: Sequence[float]
    easiness: float = 2.0


SITUATIONS = {
    # Half of what the closest real table has: sigma 0.003 of products.
    "closer than in practice": Situation((0.50, 0.49, 0.48), (0.015, 0.015, 0.015)),
    # Means and spreads of the real tables, by sigma.
    "as products": Situation((0.49, 0.44, 0.34), (0.027, 0.057, 0.064)),
    "as quickstart": Situation((0.33, 0.30, 0.26), (0.071, 0.147, 0.157)),
    "as signals-thicket": Situation((0.71, 0.69, 0.62), (0.028, 0.049, 0.090)),
    "all equal": Situation((0.50, 0.50, 0.50), (0.0, 0.0, 0.0)),
}


@dataclass(frozen=True)
class SyntheticScores:
    """A table as `benchmarks.complete_scores.CompleteScores`, and the truth behind it.

    Attributes:
        population: candidate_id, seed, sigma.
        sizes: Questions of the selection, validation and test split.
        correct: Whether each answer is right, `[1 + n_candidates, n_questions]`; row 0 is a base of ability 0.
        votes: The answers, in the shape of `correct`.
        truth: Expected accuracy of each candidate on a new question, `[n_candidates]`.
    """

    population: pl.DataFrame
    sizes: tuple[int, int, int]
    correct: NDArray[np.bool_]
    votes: NDArray[np.object_]
    truth: NDArray[np.float64]


def synthetic_scores(situation: Situation, size: int, sizes: tuple[int, int, int], seed: int) -> SyntheticScores:
    """Draw a table.

    Args:
        situation: Accuracies of the candidates.
        size: Candidates, shared out evenly over the sigmas.
        sizes: Questions of the three splits.
        seed: Seed of the whole table.
    """
    rng = np.random.default_rng(seed)
    drawn, truth, chance = _chances(situation, size, sum(sizes), seed, rng)
    correct = rng.random(chance.shape) < chance
    # Which wrong answers are likely is a property of the question.
    popularity = rng.dirichlet(np.full(len(_WRONG), 0.7), sum(sizes)).cumsum(axis=1)
    wrong = (rng.random(chance.shape)[:, :, None] > popularity[None, :, :-1]).sum(axis=2)
    answers = np.array([*_WRONG, "right"], dtype=object)
    return SyntheticScores(drawn, sizes, correct, answers[np.where(correct, len(_WRONG), wrong)], truth)


@dataclass(frozen=True)
class GradedScores:
    """A table of scores between wrong and right, and the truth behind it.

    Attributes:
        population: candidate_id, seed, sigma.
        points: Score of each answer in thousandths, `[1 + n_candidates, n_questions]`; row 0 is a base of ability 0.
        truth: Expected score of each candidate on a new question, 0 to 1, `[n_candidates]`.
    """

    population: pl.DataFrame
    points: NDArray[np.int64]
    truth: NDArray[np.float64]


def graded_scores(situation: Situation, size: int, n_questions: int, seed: int, parts: int = 4) -> GradedScores:
    """Draw a table of answers with several parts, each of which is a coin as in `synthetic_scores`.

    Args:
        situation: Expected scores of the candidates.
        size: Candidates, shared out evenly over the sigmas.
        n_questions: Questions.
        seed: Seed of the whole table.
        parts: Parts of an answer; the score is the share of them that is right.
    """
    rng = np.random.default_rng(seed)
    drawn, truth, chance = _chances(situation, size, n_questions, seed, rng)
    return GradedScores(drawn, FULL * rng.binomial(parts, chance) // parts, truth)


def _chances(
    situation: Situation, size: int, n_questions: int, seed: int, rng: np.random.Generator
) -> tuple[pl.DataFrame, NDArray[np.float64], NDArray[np.float64]]:
    """Draw a population, its true accuracies, and each one's chance on each question (the base's first)."""
    names = [10.0 ** -(9 - place) for place in range(len(situation.means))]  # sigmas, which are but labels here
    drawn = population(size, names, seed)
    group = np.arange(size) % len(names)
    truth = rng.normal(np.take(situation.means, group), np.take(situation.spreads, group)).clip(0.005, 0.995)
    ability = _abilities(truth, situation.easiness)
    easiness = rng.normal(0, situation.easiness, n_questions)
    return drawn, truth, special.expit(np.concatenate([[0.0], ability])[:, None] + easiness)


def _abilities(truth: NDArray[np.float64], easiness: float) -> NDArray[np.float64]:
    """Find the abilities that have these accuracies, averaged over the questions."""
    points, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()

    def accuracy(ability: float) -> float:
        return float((special.expit(ability + easiness * points) * weights).sum())

    grid = np.array([optimize.brentq(lambda x, t=t: accuracy(x) - t, -30, 30) for t in np.linspace(0.005, 0.995, 199)])
    return np.interp(truth, np.linspace(0.005, 0.995, 199), grid)
