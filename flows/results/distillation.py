"""Where a run's distillations are kept, and what the finished ones found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from thickets.flows.distillation.summary import DistillSummary
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder


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
        """The training data of every arm."""
        return self.root / "data.parquet"

    @property
    def summary(self) -> Path:
        """What was found, as JSON."""
        return self.root / "summary.json"

    @property
    def targets(self) -> Path:
        """Folder of the experts' token distributions, for objective logits."""
        return self.root / "work" / "targets"

    def model(self, arm: str) -> Path:
        """The checkpoint of an arm; that of the student is ``student``."""
        return self.root / arm

    def work(self, arm: str) -> Path:
        """Folder of an arm's training and scores."""
        return self.root / "work" / arm

    def load(self) -> DistillSummary:
        """What was found.

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
    """Where a distillation of a run is kept."""
    return DistillFolder(run.root / "distillation" / distillation_id)


def finished_distillations(run: RunFolder) -> tuple[DistillSummary, ...]:
    """Every finished distillation of a run, by id; one that another version wrote is passed over."""
    found = []
    for path in sorted(run.root.glob("distillation/*/summary.json")):
        try:
            found.append(DistillFolder(path.parent).load())
        except InputError:
            continue
    return tuple(found)
