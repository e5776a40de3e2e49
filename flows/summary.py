"""What a run found, as one value: returned by the flow, kept as summary.json, shown by `thickets show`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from flows.plan import RunPlan
from tasks.aggregation import ScoreBook
from tasks.ensemble import CurvePoint, Evaluation
from tasks.statistics import Accuracy, accuracy


class SigmaRow(BaseModel):
    """Candidates of one sigma on the selection split; never pooled with another sigma's."""

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    mean_accuracy: float
    max_accuracy: float
    n_at_least_base: int


class ExpertRow(BaseModel):
    """One selected expert. The seed is text: it does not fit a JavaScript number."""

    model_config = ConfigDict(frozen=True)

    rank: int
    seed: str
    sigma: float
    n_correct: int
    n: int


class TrackingLinks(BaseModel):
    """Where the run is found in MLflow and in Prefect."""

    model_config = ConfigDict(frozen=True)

    mlflow_uri: str
    mlflow_run_id: str
    mlflow_address: str
    prefect_flow_run_id: str | None
    prefect_address: str | None


class RunSummary(BaseModel):
    """The result of a run.

    Attributes:
        base_selection: The base on the selection split.
        validation_curve: Accuracy of the vote for every K up to the largest tried, under both vote rules.
        evaluation: The test split.
        experts: The K experts that vote.
        n_tokens: Tokens generated per split, earlier sessions included.
        wall_s: Seconds of this session.
        engine_s: Seconds of this session spent loading candidates and generating.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    fingerprint: str
    folder: Path
    model: str
    model_sha256: str
    problem: str
    n_candidates: int
    split_sizes: dict[str, int]
    base_selection: Accuracy
    sigmas: tuple[SigmaRow, ...]
    validation_curve: tuple[CurvePoint, ...]
    evaluation: Evaluation
    experts: tuple[ExpertRow, ...]
    n_tokens: dict[str, int]
    wall_s: float
    engine_s: float
    tracking: TrackingLinks


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
    """Collect the figures of a finished run from its score database."""
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
            ExpertRow(rank=row["rank"], seed=str(row["seed"]), sigma=row["sigma"], n_correct=row["n_correct"], n=row["n"])
            for row in experts.iter_rows(named=True)
        ),
        n_tokens={split: total["n_tokens"] + total["base_n_tokens"] for split, total in totals.items()},
        tracking=tracking,
        wall_s=wall_s,
        engine_s=engine_s,
    )
