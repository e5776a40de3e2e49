"""Selection: ranks the candidates that become experts, by several methods, of which validation chooses one.

``top_k`` takes the largest scores. ``shrunken`` (`luck.py`) corrects each score by those of all candidates of its
sigma. ``diverse`` (`diversity.py`) prefers experts that err on other questions than those already chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.results.evaluation import Method
from thickets.tasks.selection.diversity import diverse_order, pool_size
from thickets.tasks.selection.luck import SigmaCounts, posterior_mean, sigma_counts
from thickets.tasks.task import task
from thickets.tasks.types import FULL

_PER_MILLION = 1_000_000


def top_k(store: ScoreQueries, k: int) -> pl.DataFrame:
    """Rank by the sum of scores on the selection split; ties go to the smaller seed, then the smaller sigma.

    The order is total and made of integers, so the same scores always give the same selection.

    Returns:
        `[k, 8]`: rank (from 1), candidate_id, seed, sigma, n_correct, n, points (thousandths), weight (in a weighted
        vote: the sum of scores).
    """
    return plain(store.leaderboard("selection", limit=k), k)


def rank_by(store: ScoreQueries, method: Method, k: int) -> pl.DataFrame:
    """Rank by a method, from the selection split alone, and keep the first `k`; the columns are those of `top_k`.

    The ranking for a smaller `k` is a prefix of that for a larger one, so any K can be cut from the largest.
    """
    match method:
        case "top_k":
            return top_k(store, k)
        case "shrunken":
            board = store.leaderboard("selection")
            return shrunken(board, sigma_counts(board, store.question_counts("selection")), k)
        case "diverse":
            pool = store.leaderboard("selection", limit=pool_size(k))
            return diverse(pool, store.answers("selection", pool["candidate_id"].to_list())["correct"], k)


def plain(board: pl.DataFrame, k: int) -> pl.DataFrame:
    """Rank the first `k` of a leaderboard in its order; see `top_k`."""
    return _ranked(_weighted_by_score(board), k)


def shrunken(board: pl.DataFrame, groups: Iterable[SigmaCounts], k: int) -> pl.DataFrame:
    """Rank by expected mean score on new questions, given all candidates of the sigma (`luck.posterior_mean`).

    Within one sigma the order is that of `top_k`. Across sigmas it is not: a high score counts for less where the
    candidates of its sigma are few, alike or bad. The expectation is rounded to a whole number per million before it is
    compared, so that the last bits of a sum of doubles decide nothing; ties keep the order of `top_k`.

    Args:
        board: The whole leaderboard of the selection split, in its order.
        groups: The same candidates' counts, by sigma.
        k: Number of candidates to keep.

    Returns:
        As `top_k`; weight is the expected mean score, in millionths.
    """
    expected = pl.DataFrame(
        [
            (group.sigma, group.points(count), round(_PER_MILLION * posterior_mean(group, count)))
            for group in groups
            for count in sorted(set(group.by_candidate))
        ],
        schema={"sigma": pl.Float64, "points": board.schema["points"], "weight": pl.Int64},
        orient="row",
    )
    judged = board.join(expected, on=["sigma", "points"], maintain_order="left")
    return _ranked(judged.sort("weight", descending=True, maintain_order=True), k)


def diverse(pool: pl.DataFrame, correct: pl.Series, k: int) -> pl.DataFrame:
    """Rank greedily by score less shared errors; see `thickets.tasks.selection.diversity.diverse_order`.

    Args:
        pool: The first `pool_size(k)` candidates of the leaderboard, or all there are.
        correct: Whether their answers are correct, by candidate of the pool and then by question.
        k: Number of candidates to keep.

    Returns:
        As `top_k`.
    """
    right = correct.to_numpy().reshape(pool.height, -1)
    return _ranked(_weighted_by_score(pool)[diverse_order(right, k, pool["points"].to_numpy())], k)


def union(rankings: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the candidates of all rankings, each once: candidate_id, seed, sigma."""
    members = [ranking.select("candidate_id", "seed", "sigma") for ranking in rankings]
    return pl.concat(members).unique("candidate_id", keep="first", maintain_order=True)


def _weighted_by_score(board: pl.DataFrame) -> pl.DataFrame:
    """Add the sum of scores as weight: in full marks where all are whole numbers of them, else in thousandths.

    Votes are compared with one another only, so the unit changes no vote.
    """
    is_whole = bool((board["points"] % FULL == 0).all())
    return board.with_columns(weight=pl.col("points") // FULL if is_whole else pl.col("points"))


def _ranked(ordered: pl.DataFrame, k: int) -> pl.DataFrame:
    first = ordered.head(k).with_columns(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int32).alias("rank"), pl.col("weight").cast(pl.Int64)
    )
    return first.select("rank", "candidate_id", "seed", "sigma", "n_correct", "n", "points", "weight")


@task("select-top-k", retries=2, retry_delays_s=[2])
def select_top_k(book: ScoreBook, k: int) -> pl.DataFrame:
    """Run `top_k` as a Prefect task."""
    with book.open() as store:
        return top_k(store, k)


@task("rank-candidates", retries=2, retry_delays_s=[2])
def rank_candidates(book: ScoreBook, methods: Sequence[Method], k: int) -> dict[Method, pl.DataFrame]:
    """Rank the first `k` by every method, in the order of the methods (Prefect task)."""
    with book.open() as store:
        return {method: rank_by(store, method, k) for method in methods}
