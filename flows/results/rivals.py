"""The result of a rival as one value, and the folder that keeps it in the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from thickets.flows.results.made import MadeSummary
from thickets.storage.errors import InputError
from thickets.storage.home import RunFolder
from thickets.tasks.results.cost import RunCost
from thickets.tasks.results.rivals import Rival


class RivalSummary(MadeSummary):
    """The result of one rival of a run.

    Attributes:
        budget: What it might spend, in words.
        cost: What the run's own search and rows took.
        rival: The rival on the run's test split.
    """

    rival_id: str
    budget: str
    cost: RunCost
    rival: Rival


@dataclass(frozen=True, slots=True)
class RivalFolder:
    """The files of one rival.

    Attributes:
        root: ``<home>/runs/<run_id>/rivals/<method>-<hash>``.
    """

    root: Path

    @property
    def config(self) -> Path:
        """The run's config with this `rivals` section, as YAML."""
        return self.root / "config.yaml"

    @property
    def summary(self) -> Path:
        """The `RivalSummary`, as JSON."""
        return self.root / "summary.json"

    @property
    def state(self) -> Path:
        """What the method has done so far, as JSON."""
        return self.root / "state.json"

    @property
    def unlogged(self) -> Path:
        """The MLflow store that lacks some of the finished rival, as text; absent if none of it is missing."""
        return self.root / "unlogged"

    @property
    def model(self) -> Path:
        """The checkpoint of the chosen model, in the run's type of weights."""
        return self.root / "model"

    @property
    def work(self) -> Path:
        """What is needed on the way."""
        return self.root / "work"

    def load(self) -> RivalSummary:
        """Load the summary of a finished rival.

        Raises:
            InputError: The rival is not finished, or its summary was written by another version.
        """
        if not self.summary.is_file():
            raise InputError(f"RUN: rival {self.root.name} is not finished; run the same command again to go on")
        try:
            return RivalSummary.model_validate_json(self.summary.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise InputError(f"RUN: {self.summary} does not fit this version: {error.errors()[0]['msg']}") from None


def rival_folder(run: RunFolder, rival_id: str) -> RivalFolder:
    """Return the folder of one of a run's rivals."""
    return RivalFolder(run.root / "rivals" / rival_id)


def finished_rivals(run: RunFolder) -> tuple[RivalSummary, ...]:
    """Return every finished rival of a run, by id; skip summaries that another version wrote."""
    found = []
    for path in sorted(run.root.glob("rivals/*/summary.json")):
        try:
            found.append(RivalFolder(path.parent).load())
        except InputError:
            continue
    return tuple(found)
