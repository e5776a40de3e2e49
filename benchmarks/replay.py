"""Replays selection, choice on validation and vote on a complete score table, for any division of its questions.

The ranking, the vote and the choice are those of a run (`selection.ranking`, `evaluation.voting`,
`evaluation.ensemble`); only the database between them is left out: here it would be another one for every replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.complete_scores import CompleteScores
from thickets.tasks.evaluation.ensemble import choose, curve_points
from thickets.tasks.evaluation.voting import BALLOT_SCHEMA, vote
from thickets.tasks.results.evaluation import CurvePoint, Method, VoteRule
from thickets.tasks.selection.diversity import pool_size
from thickets.tasks.selection.luck import SigmaCounts
from thickets.tasks.selection.ranking import diverse, plain, shrunken
from thickets.tasks.types import FULL

METHODS: tuple[Method, ...] = get_args(Method)
RULES: tuple[VoteRule, ...] = get_args(VoteRule)
PLAIN, CHOSEN = "top_k/majority", "chosen among all"

Indices = NDArray[np.intp]


class ScoreTable(Protocol):
    """Table that a replay reads: a real one (`benchmarks.complete_scores`) or a synthetic one."""

    @property
    def population(self) -> pl.DataFrame:
        """candidate_id, seed, sigma."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Questions of the selection, validation and test split."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each answer is right, `[1 + n_candidates, n_questions]`; row 0 is the base."""

    @property
    def votes(self) -> NDArray[np.object_]:
        """The answers, None for an abstention, in the shape of `correct`."""


@dataclass(frozen=True)
class Division:
    """Candidates (rows of the population) and the questions of each split; all are indices."""

    candidates: Indices
    selection: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Outcome:
    """Result of a selection rule: the choice that validation makes of what the rule leaves open, and its test answers.

    Attributes:
        choice: Method, vote rule, K.
        correct: Whether the vote is right, `[n_test]`.
    """

    choice: CurvePoint
    correct: NDArray[np.bool_]


def replay(scores: CompleteScores, division: Division, k_values: Sequence[int]) -> dict[str, Outcome]:
    """Replay every method with every vote rule, K chosen on validation, and the choice among all of them."""
    rankings = rank(scores, division, k_values[-1])
    on_validation = {method: ballots(scores, ranked, division.validation) for method, ranked in rankings.items()}
    points = {
        f"{method}/{rule}": curve_points(on_validation[method], k_values, rule, method)
        for method in METHODS
        for rule in RULES
    }
    on_test = {method: ballots(scores, ranked, division.test) for method, ranked in rankings.items()}

    def outcome(tried: Sequence[CurvePoint]) -> Outcome:
        choice = choose(tried, METHODS, RULES)
        return Outcome(choice, vote(on_test[choice.method], choice.k, choice.rule)["correct"].to_numpy())

    found = {name: outcome(tried) for name, tried in points.items()}
    found[CHOSEN] = outcome([point for tried in points.values() for point in tried])
    return found


def rank(scores: CompleteScores, division: Division, k: int) -> dict[Method, pl.DataFrame]:
    """Return the first `k` by every method; as `ranking.rank_by`, with the candidate's row instead of its id."""
    right = scores.correct[1:][np.ix_(division.candidates, division.selection)]
    board = (
        scores.population[division.candidates]
        .select("seed", "sigma", candidate_id=pl.Series(division.candidates), n_correct=pl.Series(right.sum(axis=1)))
        .with_columns(
            place=pl.int_range(pl.len()), n=pl.lit(len(division.selection)), points=FULL * pl.col("n_correct")
        )
        .sort(["points", "seed", "sigma"], descending=[True, False, False])
    )
    groups = [
        SigmaCounts(sigma, of.sum(axis=1).tolist(), of.sum(axis=0).tolist())
        for sigma in sorted(board["sigma"].unique())
        if len(of := right[board.filter(pl.col("sigma") == sigma)["place"].to_numpy()])
    ]
    pool = board.head(pool_size(k))
    return {
        "top_k": plain(board, k),
        "shrunken": shrunken(board, groups, k),
        "diverse": diverse(pool, pl.Series(right[pool["place"].to_numpy()].ravel()), k),
    }


def ballots(scores: ScoreTable, ranked: pl.DataFrame, questions: Indices) -> pl.DataFrame:
    """Return the experts' answers to some questions; as `thickets.tasks.evaluation.voting.ballots`."""
    where = np.ix_(1 + ranked["candidate_id"].to_numpy(), questions)
    n = len(questions)
    return pl.DataFrame(
        {
            "rank": np.repeat(ranked["rank"].to_numpy(), n),
            "weight": np.repeat(ranked["weight"].to_numpy(), n),
            "example_id": np.tile(np.arange(n), ranked.height).astype(str),
            "answer": pl.Series(scores.votes[where].ravel().tolist(), dtype=pl.String),
            "correct": scores.correct[where].ravel(),
            "score": FULL * scores.correct[where].ravel(),
        },
        schema=BALLOT_SCHEMA,
        strict=False,
    )


def own_division(scores: CompleteScores, candidates: Indices) -> Division:
    """Return the division into the splits of a run of the preset."""
    first, second, third = np.split(np.arange(sum(scores.sizes)), np.cumsum(scores.sizes)[:2])
    return Division(candidates, first, second, third)


def random_division(scores: CompleteScores, n_candidates: int, rng: np.random.Generator) -> Division:
    """Draw other questions for each split, as many as before, and other candidates."""
    questions = np.split(rng.permutation(sum(scores.sizes)), np.cumsum(scores.sizes)[:2])
    # In the order of the population, as a run has them.
    candidates = np.sort(rng.choice(scores.population.height, n_candidates, replace=False))
    return Division(candidates, *questions)
