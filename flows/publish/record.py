"""What a run's folder keeps for MLflow, so that a finished run can be logged later, or again, from its folder alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from thickets.flows.plan import RunPlan
from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import RunFolder
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import store_of_home


class BaseRecord(BaseModel):
    """A base model as MLflow shows it; see `thickets.storage.models.base.BaseModelRef`."""

    model_config = ConfigDict(frozen=True)

    name: str
    revision: str
    sha256: str
    n_parameters: int


class TrackingRecord(BaseModel):
    """Where MLflow keeps a run, and what it is told that no other file of the run says.

    Attributes:
        uri: Tracking URI; in the file, empty for the store of the home that the run lies in, which may be moved.
        experiment_id: MLflow's id of the experiment.
        mlflow_run_id: MLflow's id of the run.
        tags: The run's tags.
        base: The base model.
        splits: Hash of every split, by its name.
        problem: Identity of the problem.
        has_beginning: Whether MLflow has what is known before anything is scored.
        measured_ms: The time of the metrics, in milliseconds since 1970; None until the run is finished.
    """

    model_config = ConfigDict(frozen=True)

    uri: str
    experiment_id: str
    mlflow_run_id: str
    tags: dict[str, str]
    base: BaseRecord
    splits: dict[str, str]
    problem: dict[str, Any]
    has_beginning: bool = False
    measured_ms: int | None = None

    @classmethod
    def of(cls, plan: RunPlan, tracker: Tracker, tags: dict[str, str]) -> TrackingRecord:
        """Return the record of a run that has just been started in MLflow."""
        base = plan.base
        return cls(
            uri=tracker.uri,
            experiment_id=tracker.experiment_id,
            mlflow_run_id=tracker.run_id,
            tags=tags,
            base=BaseRecord(name=base.name, revision=base.revision, sha256=base.sha256, n_parameters=base.n_parameters),
            splits={split.name: split.sha256 for split in plan.splits},
            problem=dict(plan.problem.identity()),
        )

    @property
    def tracker(self) -> Tracker:
        """The run in MLflow, which is not asked."""
        return Tracker.reopen(self.uri, self.experiment_id, self.mlflow_run_id)

    def having(self, **changes: Any) -> TrackingRecord:
        """Return the record with other values."""
        return self.model_copy(update=changes)

    def save(self, folder: RunFolder) -> None:
        """Write the record into the run's folder."""
        kept = self.having(uri="") if self.uri == store_of_home(folder) else self
        write_text_atomically(folder.tracking, kept.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, folder: RunFolder) -> TrackingRecord:
        """Read a run's record.

        Raises:
            InputError: The run has none: no session of this version has worked on it.
        """
        try:
            found = cls.model_validate_json(folder.tracking.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            raise InputError(
                f"RUN: {folder.run_id} has no readable {folder.tracking.name}, which this version writes; to log it, "
                f"run its config again (nothing is asked twice): thickets run {folder.config}"
            ) from None
        return found if found.uri else found.having(uri=store_of_home(folder))
