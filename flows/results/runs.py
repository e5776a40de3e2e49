"""Lists a home's runs (completed, running, interrupted, refused), finds one by name, reads its summary and scores."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import polars as pl
import yaml
from pydantic import BaseModel, ValidationError

from thickets.flows.results.names import called, run_called
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.reader import ScoreReader, read_only
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems import problem_title

State = Literal["completed", "running", "interrupted", "refused"]


class RunRow(BaseModel):
    """One line of `thickets runs`.

    Attributes:
        date: When work on it last began (UTC); if it never did, when its config.yaml was written.
        has_begun: Whether anything of it was ever about to be scored. A run whose configuration was refused has not.
        k: How many experts vote; None until the run is finished.
        called: What people call it; None if that is its id.
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


def list_runs(home: Home) -> list[RunRow]:
    """Return every run of a home, the latest first."""
    # One that begins with a dot is being deleted, or was left by a kill.
    folders = [RunFolder(path) for path in home.runs.glob("[!.]*") if (path / "config.yaml").is_file()]
    rows = [_row(home, folder) for folder in folders]
    return sorted(rows, key=lambda row: (-row.date.timestamp(), row.run_id))


def find_run(home: Home, name: str) -> RunFolder:
    """Find the run with an id, a name (`thickets rename`), a unique prefix of an id, or the name ``latest``.

    ``latest`` is the run on which work began last: something was about to be scored, or all of it had been scored for
    another run and it was new. A refused configuration is no work, and neither is a start that found nothing to do.

    Raises:
        InputError: No run or several runs fit.
    """
    rows = list_runs(home)
    ids = [row.run_id for row in rows]
    if not ids:
        raise InputError(f"RUN: there are no runs in {home.root}; start one with `thickets run`")
    if name == "latest":
        begun = [row.run_id for row in rows if row.has_begun]
        if not begun:
            raise InputError(f"RUN: nothing of any run in {home.root} was scored yet; runs here: {', '.join(ids[:10])}")
        return home.run(begun[0])
    name = name if name in ids else run_called(home, name) or name
    fitting = [name] if name in ids else [run for run in ids if run.startswith(name)]
    if len(fitting) != 1:
        what = f"fits {', '.join(fitting)}" if fitting else "fits no run"
        raise InputError(f"RUN: {name!r} {what}; runs here: {', '.join(ids[:10])}, or latest")
    return home.run(fitting[0])


def load_summary(folder: RunFolder) -> RunSummary:
    """Load the summary of a finished run.

    Raises:
        InputError: The run is not finished, or its summary was written by another version.
    """
    if not folder.summary.is_file():
        if folder.refused.is_file():
            raise InputError(f"RUN: {folder.run_id} was refused: {folder.refused.read_text(encoding='utf-8').strip()}")
        raise InputError(f"RUN: {folder.run_id} is not finished; run its config again to go on: {folder.config}")
    try:
        return RunSummary.model_validate_json(folder.summary.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise InputError(f"RUN: {folder.summary} does not fit this version: {error.errors()[0]['msg']}") from None


def open_scores(home: Home, folder: RunFolder) -> ScoreReader:
    """Open the scores of a run, read-only; use as a context manager."""
    return read_only(folder.root, shards_folder(home, folder))


def shards_folder(home: Home, folder: RunFolder) -> Path | None:
    """Return the folder of a run's shards, or None if the run has not recorded its fingerprint yet."""
    if folder.shards.exists():
        return Path(folder.shards.read_text(encoding="utf-8").strip())
    return home.shards(folder.fingerprint.read_text(encoding="ascii").strip()) if folder.fingerprint.exists() else None


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
    voted = vote(cast, k, summary.evaluation.rule).select("example_id", "answer", "correct", who=pl.lit("vote"))
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


def _row(home: Home, folder: RunFolder) -> RunRow:
    # Plain values, not `RunConfig`: a run of another version, with fields that this version does not know, is listed.
    config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    problem, finished = config["problem"], folder.summary.is_file()
    try:
        summary = load_summary(folder) if finished else None
    except InputError:
        summary = None
    date, has_begun = _begun(home, folder)
    return RunRow(
        run_id=folder.run_id,
        called=called(folder),
        date=date,
        model=config["model"],
        problem=problem_title(problem["name"], problem.get("path"), problem.get("label")),
        n_candidates=config["population"]["size"],
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


def _begun(home: Home, folder: RunFolder) -> tuple[datetime, bool]:
    """Return when work on the run last began, and whether it did; earlier versions have kept the result alone."""
    if folder.begun.is_file():
        return datetime.fromisoformat(folder.begun.read_text(encoding="utf-8").strip()), True
    written = datetime.fromtimestamp(folder.config.stat().st_mtime, UTC)
    if folder.refused.is_file():
        return written, False
    shards = shards_folder(home, folder)
    return written, folder.summary.is_file() or (shards is not None and any(shards.glob("*.parquet")))
