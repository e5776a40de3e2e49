"""Racing: drops hopeless candidates after each round; which ones is a pure function of the scores so far.

A round is one block of the selection split, the fixed unit of generation, so that no answer depends on it. After n of N
questions a candidate's final score (its correct answers to all N) is not known, but it is bounded: for certain by what
it has and what it has plus N - n, and at a chosen z by Wilson's interval (Wilson 1927) with the correction for a finite
number of questions: the more of them are asked, the narrower it is, and with all of them it is a point.

Every candidate is asked the same questions, and easy ones are easy for all. So two candidates' scores differ by less
than two independent binomials would, and the intervals are wider than they have to be; see docs/racing.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.evaluation import Method
from thickets.tasks.selection.diversity import pool_size
from thickets.tasks.task import task


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
        board: candidate_id, seed, sigma, n_correct of all that answered the same `n_asked` questions, in any order.
        n_asked: Questions asked so far, > 0.
        n_questions: Questions of the selection split.
        rule: See `Rule`.

    Returns:
        Rows of `board`, the best first; all of them after the last question.
    """
    # A total order, that of `thickets.tasks.selection.ranking.top_k`.
    ranked = board.sort(["n_correct", "seed", "sigma"], descending=[True, False, False])
    last = min(rule.n_needed, ranked.height) - 1  # the last of the best
    left = n_questions - n_asked
    if left <= 0 or last < 0:
        return ranked
    to_beat = int(ranked["n_correct"][last])
    counts = ranked["n_correct"]
    # A candidate that can just draw level goes on if ties would go to it.
    seed, sigma = ranked["seed"][last], ranked["sigma"][last]
    level = (ranked["seed"] < seed) | ((ranked["seed"] == seed) & (ranked["sigma"] <= sigma))
    can_catch_up = (counts + left > to_beat) | ((counts + left == to_beat) & level)
    stays = can_catch_up & (counts > hopeless_count(to_beat, n_asked, n_questions, rule.z))
    alive = ranked.filter(stays)
    if rule.keep is not None:
        alive = alive.head(max(last + 1, math.ceil(rule.keep * ranked.height)))
    return alive


def hopeless_count(to_beat: int, n_asked: int, n_questions: int, z: float) -> int:
    """Return the most correct answers of `n_asked` whose interval ends below that of `to_beat`; -1 if there is none."""
    low, _ = final_score(to_beat, n_asked, n_questions, z)
    hopeless = -1
    while hopeless + 1 < to_beat and final_score(hopeless + 1, n_asked, n_questions, z)[1] < low:
        hopeless += 1
    return hopeless


def final_score(n_correct: int, n_asked: int, n_questions: int, z: float) -> tuple[float, float]:
    """Compute the interval of the correct answers to all questions, given those to the first `n_asked`.

    Wilson's, with the number asked divided by the finite population correction `(N - n) / (N - 1)`, and never wider
    than what is certain.
    """
    left = n_questions - n_asked
    if left == 0:
        return float(n_correct), float(n_correct)
    share, n = n_correct / n_asked, n_asked * (n_questions - 1) / left
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = n_questions * (centre - half), n_questions * (centre + half)
    return max(low, float(n_correct)), min(high, float(n_correct + left))


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
    counts = scores.correct_in_blocks("selection", n_blocks).select("candidate_id", "n_correct")
    board = contenders.join(counts, on="candidate_id", how="inner", maintain_order="left")
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
