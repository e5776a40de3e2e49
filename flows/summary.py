"""What a run found, as one value: returned by the flow, kept as summary.json, shown by `thickets show`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.results import Accuracy, CurvePoint, Evaluation


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
