"""The experts of a finished run, as voting takes them."""

from __future__ import annotations

import polars as pl

from thickets.flows.results.summary import RunSummary
from thickets.tasks.types import Candidate


def experts_of(summary: RunSummary) -> pl.DataFrame:
    """The candidates that vote, by rank: rank, candidate_id, weight."""
    return pl.DataFrame(
        [(row.rank, Candidate(int(row.seed), row.sigma).id, row.n_votes) for row in summary.experts],
        schema={"rank": pl.Int64, "candidate_id": pl.String, "weight": pl.Int64},
        orient="row",
    )
