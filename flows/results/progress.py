"""How far a run in progress is: one small file that the run rewrites every few seconds, for whoever watches."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from thickets.storage.files import write_text_atomically


class ProgressNow(BaseModel):
    """One round of scoring, at one moment.

    Attributes:
        label: The split, or another name of the round.
        stages: The stages of the run that generate, in their order; empty where a budget decides how many there are.
        place: The number of the round's stage, from 1; None for a round before them all.
        n_done: Units (a candidate on a block of questions) scored in this session.
        n_units: Units that there were to score.
        n_before: Units that an earlier session had scored.
        tokens_per_s: New tokens in a second, over the round.
        left_s: Seconds that are left, about; None before the first unit.
        is_until_report: Whether `left_s` is until the report, and not until the end of the round.
        written: When it was so.
    """

    model_config = ConfigDict(frozen=True)

    label: str
    stages: tuple[str, ...] = ()
    place: int | None = None
    n_done: int
    n_units: int
    n_before: int = 0
    tokens_per_s: float = 0.0
    left_s: float | None = None
    is_until_report: bool = False
    written: datetime

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_text_atomically(path, self.model_dump_json() + "\n")

    @classmethod
    def load(cls, path: Path) -> ProgressNow | None:
        """Read it; None where there is none, or none that this version can read."""
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
