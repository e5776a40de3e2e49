"""Collects the summary of a finished run from its score database."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from flows.plan import RunPlan
from flows.summary import ExpertRow, RunSummary, SigmaRow, TrackingLinks
from tasks.aggregation import ScoreBook
from tasks.results import CurvePoint, Evaluation
from tasks.statistics import accuracy


def summarise(
    plan: RunPlan,
    book: ScoreBook,
    folder: Path,
    experts: pl.DataFrame,
    validation_curve: tuple[CurvePoint, ...],
    evaluation: Evaluation,
    tracking: TrackingLinks,
    *,
    wall_s: float,
    engine_s: float,
) -> RunSummary:
    """Put the figures together; see `flows.summary.RunSummary`."""
    with book.open() as store:
        totals = {split.name: store.totals(split.name).row(0, named=True) for split in plan.splits}
        sigmas = store.sigma_statistics()
    selection = totals["selection"]
    return RunSummary(
        run_id=plan.run_id,
        fingerprint=plan.fingerprint,
        folder=folder.resolve(),
        model=plan.base.name,
        model_sha256=plan.base.sha256,
        problem=plan.config.problem.name,
        n_candidates=plan.config.population.size,
        split_sizes={split.name: len(split.examples) for split in plan.splits},
        base_selection=accuracy(selection["base_n_correct"], selection["base_n_answers"]),
        sigmas=tuple(
            SigmaRow(
                sigma=row["sigma"],
                n_candidates=row["n_candidates"],
                mean_accuracy=row["mean_n_correct"] / row["n_examples"],
                max_accuracy=row["max_n_correct"] / row["n_examples"],
                n_at_least_base=row["n_at_least_base"],
            )
            for row in sigmas.iter_rows(named=True)
        ),
        validation_curve=validation_curve,
        evaluation=evaluation,
        experts=tuple(
            ExpertRow(
                rank=row["rank"], seed=str(row["seed"]), sigma=row["sigma"], n_correct=row["n_correct"], n=row["n"]
            )
            for row in experts.iter_rows(named=True)
        ),
        n_tokens={split: total["n_tokens"] + total["base_n_tokens"] for split, total in totals.items()},
        tracking=tracking,
        wall_s=wall_s,
        engine_s=engine_s,
    )
