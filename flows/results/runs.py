"""Lists a home's runs (completed, running, interrupted, refused, damaged), finds one, reads its summary and scores."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel

from thickets.flows.results.names import called, run_called
from thickets.flows.results.run_tables import run_tables
from thickets.flows.results.stored import one_line, stored_config, stored_summary
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.reader import ScoreReader, read_only
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems import problem_title
from thickets.tasks.problems.consensus import Consensus

log = logging.getLogger("thickets")

State = Literal["completed", "running", "interrupted", "refused", "damaged"]

# What reading a folder of any content may raise; ValueError is that of encodings, dates, JSON and pydantic too.
_UNREADABLE = (InputError, OSError, ValueError)


class RunRow(BaseModel):
    """One line of `thickets runs`.

    Attributes:
        date: When work on it last began (UTC); if it never did, when its config.yaml was written.
        model: Empty if the run is damaged, like `problem`; `n_candidates` is 0 then.
        has_begun: Whether anything of it was ever about to be scored. A run whose configuration was refused has not.
        k: How many experts vote; None until the run is finished.
        called: What people call it; None if that is its id.
        reason: What of a damaged run cannot be read; None of others.
    """

    run_id: str
    called: str | None = None
    date: datetime
    model: str
    problem: str
    n_candidates: int
    state: State
    has_begun: bool
    k: int | None
    base_accuracy: float | None
    ensemble_accuracy: float | None
    reason: str | None = None


def list_runs(home: Home) -> list[RunRow]:
    """Return every run of a home, the latest first; one that cannot be read is damaged, and the others are as ever."""
    rows = [run_row(home, folder) for folder in run_folders(home)]
    return sorted(rows, key=lambda row: (-row.date.timestamp(), row.run_id))


def find_run(home: Home, name: str) -> RunFolder:
    """Find the run with an id, a name (`thickets rename`), a unique prefix of an id, or the name ``latest``.

    No configuration but its own is read. ``latest`` is the run on which work began last: something was about to be
    scored, or all of it had been scored for another run and it was new. A refused configuration is no work, and neither
    is a start that found nothing to do. A damaged run is passed over, with a warning; one of earlier versions, which
    have not recorded the beginning, comes after all that have.

    Raises:
        InputError: No run or several runs fit.
    """
    known = sorted((_known(home, folder) for folder in run_folders(home)), key=lambda each: each.order)
    ids = [each.folder.run_id for each in known]
    if not ids:
        raise InputError(f"RUN: there are no runs in {home.root}; start one with `thickets run`")
    if name == "latest":
        return _latest(home, known)
    name = name if name in ids else run_called(home, name) or name
    fitting = [name] if name in ids else [run for run in ids if run.startswith(name)]
    if len(fitting) != 1:
        what = f"fits {', '.join(fitting)}" if fitting else "fits no run"
        raise InputError(f"RUN: {name!r} {what}; runs here: {', '.join(ids[:10])}, or latest")
    return home.run(fitting[0])


def load_summary(folder: RunFolder) -> RunSummary:
    """Load the summary of a finished run; its folder is where it is now, wherever it was finished.

    Raises:
        InputError: The run is not finished, or its summary cannot be read or was written by another version.
    """
    if not folder.summary.is_file():
        if folder.refused.is_file():
            raise InputError(f"RUN: {folder.run_id} was refused: {folder.refused.read_text(encoding='utf-8').strip()}")
        raise InputError(f"RUN: {folder.run_id} is not finished; run its config again to go on: {folder.config}")
    if (summary := stored_summary(folder)) is None:
        raise InputError(f"RUN: {folder.summary} does not fit this version; run its config again: {folder.config}")
    return summary


def open_scores(home: Home, folder: RunFolder) -> ScoreReader:
    """Open the scores of a run, read-only, and the tables about its vote and prompts; use as a context manager."""
    return read_only(folder.root, shards_folder(home, folder), run_tables(folder))


def shards_folder(home: Home, folder: RunFolder) -> Path | None:
    """Return the folder of a run's shards, or None if the run has not recorded its fingerprint yet.

    Shards that were elsewhere and are not there any more may have come along with a home that was moved.
    """
    elsewhere = Path(folder.shards.read_text(encoding="utf-8").strip()) if folder.shards.exists() else None
    if elsewhere is not None and elsewhere.is_dir():
        return elsewhere
    if not folder.fingerprint.exists():
        return elsewhere
    inside = home.shards(folder.fingerprint.read_text(encoding="ascii").strip())
    return inside if elsewhere is None or inside.is_dir() else elsewhere


def example_votes(reader: ScoreReader, summary: RunSummary, count: int = 3) -> pl.DataFrame:
    """Choose some test questions, with the base's, every expert's and the ensemble's answer.

    Questions on which the experts differ come first: they show what a vote does.

    Returns:
        Columns question, gold, who, answer, correct; grouped by question.
    """
    k = summary.evaluation.k
    cast = ballots(reader, "test", experts_of(summary))
    disputed = (
        cast.group_by("example_id", maintain_order=True)
        .agg(kinds=pl.col("answer").n_unique())
        .sort("kinds", descending=True, maintain_order=True)
        .head(count)["example_id"]
        .to_list()
    )
    chosen = pl.col("example_id").is_in(disputed)
    base = reader.answers("test", [BASE_ID]).select("example_id", "answer", "correct", who=pl.lit("base"))
    each = cast.select("example_id", "answer", "correct", who=pl.format("expert {}", "rank"))
    voted = vote(cast, k, summary.evaluation.rule, Consensus(summary.evaluation.metric)).select(
        "example_id", "answer", "correct", who=pl.lit("vote")
    )
    rows = pl.concat([base.filter(chosen), each.filter(chosen), voted.filter(chosen)])
    questions = reader.query(
        "SELECT example_id, question, answer AS gold FROM examples WHERE split = 'test' ORDER BY position"
    )
    order = pl.DataFrame({"example_id": disputed})
    return (
        order.join(questions, on="example_id", maintain_order="left")
        .join(rows, on="example_id", maintain_order="left_right")
        .select("question", "gold", "who", "answer", "correct")
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """A run, and what is known of it without its configuration.

    Attributes:
        began: As for `RunRow.date`; 1970 if it cannot be read.
        has_begun: As for `RunRow.has_begun`.
        is_recorded: Whether that is what the run has recorded, and no file's date, which a copy changes.
    """

    folder: RunFolder
    began: datetime
    has_begun: bool
    is_recorded: bool

    @property
    def order(self) -> tuple[bool, float, str]:
        """The latest first, those that have recorded it before the others."""
        return not self.is_recorded, -self.began.timestamp(), self.folder.run_id


def run_folders(home: Home) -> list[RunFolder]:
    """Return the folders that a run has begun to fill."""
    try:
        paths = sorted(path for path in home.runs.iterdir() if not path.name.startswith(".") and path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"storage.home: cannot read {home.runs}: {one_line(error)}") from None
    return [folder for folder in map(RunFolder, paths) if not _is_bare(folder)]


def _is_bare(folder: RunFolder) -> bool:
    """Return whether a folder holds no more than a start that was ended at once has made."""
    try:
        names = {name for name in os.listdir(folder.root) if not name.startswith(".")}
    except OSError:
        return False
    return names <= {folder.lock.name, folder.figures.name}


def _latest(home: Home, known: list[_Known]) -> RunFolder:
    begun = [each.folder for each in known if each.has_begun]
    for folder in begun:
        row = run_row(home, folder)
        if row.state != "damaged":
            return folder
        log.warning(f"{folder.run_id} is damaged and not taken for the latest: {row.reason}")
    if begun:
        raise InputError(f"RUN: every run in {home.root} of which anything was scored is damaged; see `thickets runs`")
    ids = ", ".join(each.folder.run_id for each in known[:10])
    raise InputError(f"RUN: nothing of any run in {home.root} was scored yet; runs here: {ids}")


def run_row(home: Home, folder: RunFolder) -> RunRow:
    """Return a run's line; one that cannot be read is damaged."""
    try:
        return _whole_row(home, folder)
    except _UNREADABLE as error:
        return RunRow(
            run_id=folder.run_id,
            date=_known(home, folder).began,
            model="",
            problem="",
            n_candidates=0,
            state="damaged",
            has_begun=False,
            k=None,
            base_accuracy=None,
            ensemble_accuracy=None,
            reason=one_line(error).removeprefix("RUN: "),
        )


def _whole_row(home: Home, folder: RunFolder) -> RunRow:
    config, summary = stored_config(folder), stored_summary(folder) if folder.summary.is_file() else None
    date, has_begun, _ = _begun(home, folder)
    return RunRow(
        run_id=folder.run_id,
        called=called(folder),
        date=date,
        model=config.model,
        problem=problem_title(config.problem.name, config.problem.path, config.problem.label),
        n_candidates=config.population.size,
        state=_state(home, folder),
        has_begun=has_begun,
        k=summary.evaluation.k if summary else None,
        base_accuracy=summary.evaluation.base.value if summary else None,
        ensemble_accuracy=summary.evaluation.ensemble.value if summary else None,
    )


def _state(home: Home, folder: RunFolder) -> State:
    if home.is_locked(folder.run_id):
        return "running"
    if folder.summary.is_file():
        return "completed"
    return "refused" if folder.refused.is_file() else "interrupted"


def _known(home: Home, folder: RunFolder) -> _Known:
    try:
        return _Known(folder, *_begun(home, folder))
    except _UNREADABLE:
        return _Known(folder, datetime.fromtimestamp(0, UTC), has_begun=False, is_recorded=False)


def _begun(home: Home, folder: RunFolder) -> tuple[datetime, bool, bool]:
    """Return when work on the run last began, whether it did, and whether the run itself has recorded that."""
    if folder.begun.is_file():
        return datetime.fromisoformat(folder.begun.read_text(encoding="utf-8").strip()), True, True
    written = datetime.fromtimestamp(folder.config.stat().st_mtime, UTC)
    if folder.refused.is_file():
        return written, False, False
    shards = shards_folder(home, folder)  # earlier versions have kept the result alone
    return written, folder.summary.is_file() or (shards is not None and any(shards.glob("*.parquet"))), False
