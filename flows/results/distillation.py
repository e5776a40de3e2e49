"""The result of a distillation as one value, and the folder that keeps it in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from thickets.flows.results.made import MadeSummary
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder
from thickets.tasks.distillation.results import Arm, DataReport, StudentDifference
from thickets.tasks.results.cost import RunCost
from thickets.tasks.results.intervals import Accuracy


class DistillSummary(MadeSummary):
    """The result of a distillation; every accuracy but those on the validation split is on the run's test split.

    Attributes:
        data: How many of the experts' responses became training rows, and why the others did not.
        reason: Why nothing was trained; None if a student was trained.
        base_validation: Accuracy of the base on the validation split, with the run's engine.
        arms: The trained models: the student first, then the controls that were trained like it.
        untrained: Controls that are on in the configuration but had no rows.
        student_minus: Accuracy of the student minus that of each control that was trained.
        base_perplexity: Perplexity of the base on generic text; None if nothing was trained.
        answer_tokens: Tokens generated on the training split by experts and base, earlier sessions included.
        cost: What the rows of the run's result and the trained models took to get, and take to use; None if either is
            of a version that did not count it.
    """

    distillation_id: str
    objective: str
    method: str
    data: DataReport
    reason: str | None
    base_validation: Accuracy
    arms: tuple[Arm, ...]
    untrained: tuple[str, ...]
    student_minus: tuple[StudentDifference, ...]
    base_perplexity: float | None
    answer_tokens: int
    cost: RunCost | None = None

    @property
    def student(self) -> Arm | None:
        """The student, or None if nothing was trained."""
        return next((arm for arm in self.arms if arm.name == "student"), None)

    @property
    def gain_kept(self) -> float | None:
        """The student's gain over the base as a share of the ensemble's; None without a student or a gain."""
        gain = self.evaluation.ensemble_minus_base.value
        return None if self.student is None or gain <= 0 else self.student.minus_base.value / gain


@dataclass(frozen=True, slots=True)
class DistillFolder:
    """The files of one distillation.

    Attributes:
        root: ``<home>/runs/<run_id>/distillation/<hash>``.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The run's config with this `distillation` section, as YAML."""
        return self.root / "config.yaml"

    @property
    def scores(self) -> Path:
        """The training split's answers of experts and base, as a DuckDB file."""
        return self.root / "scores.duckdb"

    @property
    def data(self) -> Path:
        """The training data of every arm, as Parquet."""
        return self.root / "data.parquet"

    @property
    def summary(self) -> Path:
        """The `DistillSummary`, as JSON."""
        return self.root / "summary.json"

    @property
    def unlogged(self) -> Path:
        """The MLflow store that lacks some of the finished distillation, as text; absent if none of it is missing."""
        return self.root / "unlogged"

    @property
    def engine_time(self) -> Path:
        """What engines took for the answers to the training split, as JSON."""
        return self.root / "engine-time.json"

    def engine_time_of(self, arm: str) -> Path:
        """Return what engines took for the answers of an arm, as JSON."""
        return self.work(arm) / "engine-time.json"

    @property
    def targets(self) -> Path:
        """Folder of the experts' token distributions, for objective logits."""
        return self.root / "work" / "targets"

    def model(self, arm: str) -> Path:
        """Return the checkpoint of an arm; the student's is ``student``."""
        return self.root / arm

    def work(self, arm: str) -> Path:
        """Return the folder of an arm's training and scores."""
        return self.root / "work" / arm

    def load(self) -> DistillSummary:
        """Load the summary of a finished distillation.

        Raises:
            InputError: The distillation is not finished, or its summary was written by another version.
        """
        if not self.summary.is_file():
            raise InputError(f"RUN: distillation {self.root.name} is not finished; run the same command again to go on")
        try:
            return DistillSummary.model_validate_json(self.summary.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise InputError(f"RUN: {self.summary} does not fit this version: {error.errors()[0]['msg']}") from None


def distill_folder(run: RunFolder, distillation_id: str) -> DistillFolder:
    """Return the folder of one of a run's distillations."""
    return DistillFolder(run.root / "distillation" / distillation_id)


def finished_distillations(run: RunFolder) -> tuple[DistillSummary, ...]:
    """Return every finished distillation of a run, by id; skip summaries that another version wrote."""
    found = []
    for path in sorted(run.root.glob("distillation/*/summary.json")):
        try:
            found.append(DistillFolder(path.parent).load())
        except InputError:
            continue
    return tuple(found)
