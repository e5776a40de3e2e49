"""Top-K selection: the candidates with most correct answers on the selection split."""

from __future__ import annotations

import polars as pl
from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.scores import ScoreStore
from tasks.aggregation import ScoreBook


def top_k(store: ScoreStore, k: int) -> pl.DataFrame:
    """Rank by correct answers on the selection split; ties go to the smaller seed, then the smaller sigma.

    The order is total and made of integers, so the same scores always give the same selection.

    Returns:
        `[k, 6]`: rank (from 1), candidate_id, seed, sigma, n_correct, n.
    """
    board = store.leaderboard("selection", limit=k)
    return board.select("rank", "candidate_id", "seed", "sigma", "n_correct", "n")


@task(name="select-top-k", retries=2, retry_delay_seconds=2, cache_policy=NO_CACHE, persist_result=False)
def select_top_k(book: ScoreBook, k: int) -> pl.DataFrame:
    """Prefect task over `top_k`."""
    with book.open() as store:
        return top_k(store, k)
