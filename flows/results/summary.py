"""The result of a run as one value: returned by the flow, kept as summary.json, shown by `thickets show`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from thickets.tasks.adaptive.token_limit import TokenLimit
from thickets.tasks.results.evaluation import Accuracy, CurvePoint, Evaluation, ThicketDescription
from thickets.tasks.results.pilot import Pilot
from thickets.tasks.results.racing import Race
from thickets.tasks.types import Candidate


class SigmaRow(BaseModel):
    """Candidates of one sigma on the selection split; never pooled with another sigma's."""

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    mean_accuracy: float
    max_accuracy: float
    n_at_least_base: int


class ExpertRow(BaseModel):
    """One selected expert. The seed is text: it does not fit a JavaScript number.

    Attributes:
        rank: Place in the order of the method that was chosen.
        weight: Votes in a weighted vote.
    """

    model_config = ConfigDict(frozen=True)

    rank: int
    seed: str
    sigma: float
    n_correct: int
    n: int
    weight: int


class EngineUse(BaseModel):
    """How the engines spent a session; nothing but zeros if there was nothing left to score.

    Attributes:
        n_engines: Engines at work side by side.
        n_answers: Answers generated.
        scoring_s: Seconds in which shards were being scored.
        start_s: Seconds until engines were built, all engines together.
        load_s: Seconds in which an engine became another candidate, all engines together.
        generate_s: Seconds in which an engine generated, all engines together.
    """

    model_config = ConfigDict(frozen=True)

    n_engines: int = 0
    n_answers: int = 0
    scoring_s: float = 0.0
    start_s: float = 0.0
    load_s: float = 0.0
    generate_s: float = 0.0

    @property
    def generating_share(self) -> float | None:
        """Share of the engines' time, from the moment they were built, in which they generated."""
        available_s = self.n_engines * self.scoring_s - self.start_s
        return self.generate_s / available_s if available_s > 0 and self.generate_s else None


class TrackingLinks(BaseModel):
    """Where the run is found in MLflow and in Prefect."""

    model_config = ConfigDict(frozen=True)

    mlflow_uri: str
    mlflow_run_id: str
    mlflow_address: str
    prefect_flow_run_id: str | None
    prefect_address: str | None


class BudgetUse(BaseModel):
    """What a run was allowed to cost; what it did cost is in its tokens and its time.

    Attributes:
        given: The budget, for people: ``2,000,000 tokens``, ``30.0 minutes``.
        n_most: Candidates that were asked for, if they could be paid.
    """

    model_config = ConfigDict(frozen=True)

    given: str
    n_most: int


class RunSummary(BaseModel):
    """The result of a run.

    Attributes:
        base_selection: The base on the selection split.
        validation_curve: Accuracy of the vote for every K up to the largest tried, by every method and vote rule.
        evaluation: The test split.
        experts: The K experts that vote.
        n_tokens: Tokens generated per split, for the controls beyond them, and for learning the limit; earlier
            sessions included.
        wall_s: Seconds of this session.
        engine: What the engines did in this session.
        thicket: The neighbourhood and its experts described.
        version: Of Thickets, in this session.
        budget: What the run was allowed to cost; None without a budget, and then all candidates were scored.
        pilot: What the first candidates said about the sigmas; None without one, or if a budget ended before it.
        race: What racing asked; None without it. With it, `base_selection`, `sigmas` and the candidates' part of
            `thicket` are about the `race.n_common` questions that every candidate was asked.
        limit: What was learned about the length of answers; None where the configuration sets the limit.

    Example:
        >>> from thickets import open_run
        >>> summary = open_run().summary
        >>> summary.evaluation.ensemble.n, len(summary.experts) == summary.evaluation.k
        (14, True)
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
    engine: EngineUse
    tracking: TrackingLinks
    thicket: ThicketDescription
    version: str
    pilot: Pilot | None = None
    race: Race | None = None
    budget: BudgetUse | None = None
    limit: TokenLimit | None = None

    @property
    def common_questions(self) -> str:
        """What the figures about all candidates rest on, in words: ``the selection split`` unless it was raced."""
        if self.race is None or self.race.n_common == self.race.n_questions:
            return "the selection split"
        return f"the {self.race.n_common} selection questions that every candidate was asked"


def experts_of(summary: RunSummary) -> pl.DataFrame:
    """The candidates that vote, by rank: rank, candidate_id, weight."""
    return pl.DataFrame(
        [(row.rank, Candidate(int(row.seed), row.sigma).id, row.weight) for row in summary.experts],
        schema={"rank": pl.Int64, "candidate_id": pl.String, "weight": pl.Int64},
        orient="row",
    )
