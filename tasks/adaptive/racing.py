"""Racing: drops hopeless candidates after each round; which ones is a pure function of the scores so far.

A round is one block of the selection split, the fixed unit of generation, so that no answer depends on it. After n of N
questions a candidate's final score (the sum over all N, full marks being 1) is not known, but it is bounded: for
certain by what it has and what it has plus N - n, and at a chosen z by Wilson's interval (Wilson 1927) with the
correction for a finite number of questions: the more of them are asked, the narrower it is, and with all of them it is
a point.

The interval holds for scores between wrong and right too: of all values from 0 to 1 with the same mean, those that are
0 or 1 have the largest variance (Bhatia & Davis 2000, Amer. Math. Monthly 107), and Wilson's interval takes that one.
There it is wider than it has to be, so that fewer candidates are dropped.

Every candidate is asked the same questions, and easy ones are easy for all. So two candidates' scores differ by less
than two independent binomials would, and the intervals are wider than they have to be; see docs/racing.md.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.evaluation import Method
from thickets.tasks.selection.diversity import pool_size
from thickets.tasks.task import task
from thickets.tasks.types import FULL


@dataclass(frozen=True, slots=True)
class Rule:
    """Decides which candidates go on after a round.

    Attributes:
        n_needed: Fewest that go on; the selection needs all scores of this many of the best.
        z: Half the width of the intervals, in standard deviations; > 0.
        keep: Largest share that goes on after a round; None: as many as the intervals let.
        n_spared: Candidates of the first positions that are never dropped: they have answered everything in a pilot.
    """

    n_needed: int
    z: float
    keep: float | None = None
    n_spared: int = 0


def n_needed(methods: Sequence[Method], k: int) -> int:
    """Return how many of the best candidates a selection of `k` reads; ``shrunken`` reads all and cannot be raced."""
    return pool_size(k) if "diverse" in methods else k


def go_on(board: pl.DataFrame, n_asked: int, n_questions: int, rule: Rule) -> pl.DataFrame:
    """Keep the candidates that may still be among the `rule.n_needed` best after all questions.

    A candidate is dropped if it cannot catch up with the last of these best any more, if the upper end of its interval
    lies below the lower end of theirs, or if `rule.keep` leaves it no place.

    Args:
        board: candidate_id, seed, sigma, points (thousandths) of all that answered the same `n_asked` questions, in any
            order.
        n_asked: Questions asked so far, > 0.
        n_questions: Questions of the selection split.
        rule: See `Rule`.

    Returns:
        Rows of `board`, the best first; all of them after the last question.
    """
    # A total order, that of `thickets.tasks.selection.ranking.top_k`.
    ranked = board.sort(["points", "seed", "sigma"], descending=[True, False, False])
    last = min(rule.n_needed, ranked.height) - 1  # the last of the best
    left = FULL * (n_questions - n_asked)
    if left <= 0 or last < 0:
        return ranked
    points = ranked["points"].cast(pl.Int64)
    to_beat = int(points[last])
    # A candidate that can just draw level goes on if ties would go to it.
    seed, sigma = ranked["seed"][last], ranked["sigma"][last]
    level = (ranked["seed"] < seed) | ((ranked["seed"] == seed) & (ranked["sigma"] <= sigma))
    can_catch_up = (points + left > to_beat) | ((points + left == to_beat) & level)
    stays = can_catch_up & (points > hopeless_points(to_beat, n_asked, n_questions, rule.z))
    alive = ranked.filter(stays)
    if rule.keep is not None:
        alive = alive.head(max(last + 1, math.ceil(rule.keep * ranked.height)))
    return alive


def hopeless_points(to_beat: int, n_asked: int, n_questions: int, z: float) -> int:
    """Return the most points after `n_asked` questions whose interval ends below that of `to_beat`; -1 if none does.

    Args:
        to_beat: Points of the candidate to beat, in thousandths.
        n_asked: Questions asked so far.
        n_questions: Questions of the split.
        z: See `Rule`.
    """

    def ends(points: int) -> tuple[float, float]:
        return final_score(points / FULL, n_asked, n_questions, z)

    low, _ = ends(to_beat)
    # More points never end lower, so the first that does not end below can be searched by halving.
    return bisect_left(range(to_beat), x=True, key=lambda points: ends(points)[1] >= low) - 1


def final_score(score: float, n_asked: int, n_questions: int, z: float) -> tuple[float, float]:
    """Compute the interval of the score on all questions, given that on the first `n_asked`; full marks are 1 each.

    Wilson's, with the number asked divided by the finite population correction `(N - n) / (N - 1)`, and never wider
    than what is certain.
    """
    left = n_questions - n_asked
    if left == 0:
        return float(score), float(score)
    share, n = score / n_asked, n_asked * (n_questions - 1) / left
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = n_questions * (centre - half), n_questions * (centre + half)
    return max(low, float(score)), min(high, float(score + left))


def drop_after_round(
    scores: ScoreQueries, contenders: pl.DataFrame, sizes: Sequence[int], n_blocks: int, rule: Rule
) -> pl.DataFrame:
    """Keep the contenders that go on after `n_blocks` blocks, in the order of the population.

    Args:
        scores: Holds their answers to these blocks; answers to later ones, of another run, are not read.
        contenders: candidate_id, seed, sigma, position; of those that answered all these blocks.
        sizes: Questions of every block of the selection split.
        n_blocks: How many blocks they have answered.
        rule: See `Rule`.
    """
    points = scores.sums_in_blocks("selection", n_blocks).select("candidate_id", "points")
    board = contenders.join(points, on="candidate_id", how="inner", maintain_order="left")
    alive = go_on(board, sum(sizes[:n_blocks]), sum(sizes), rule)
    goes_on = pl.col("candidate_id").is_in(alive["candidate_id"].to_list()) | (pl.col("position") < rule.n_spared)
    return contenders.filter(goes_on)


@task("race-candidates", retries=2, retry_delays_s=[2])
def race_candidates(
    book: ScoreBook, contenders: pl.DataFrame, sizes: Sequence[int], n_blocks: int, rule: Rule, dropped: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prefect task over `drop_after_round`; records the candidates dropped so far in the run's database.

    Args:
        book: The run's scores.
        contenders: See `drop_after_round`.
        sizes: See there.
        n_blocks: See there.
        rule: See there.
        dropped: candidate_id, n_blocks; of those dropped in earlier rounds.

    Returns:
        The contenders that go on, and all that were dropped so far, this round's included.
    """
    with book.open() as store:
        alive = drop_after_round(store, contenders, sizes, n_blocks, rule)
        gone = contenders.join(alive, on="candidate_id", how="anti", maintain_order="left")
        dropped = pl.concat([dropped, gone.select("candidate_id", n_blocks=pl.lit(n_blocks, dtype=pl.UInt32))])
        store.record_dropped(dropped)
    return alive, dropped
