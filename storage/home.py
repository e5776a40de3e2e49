"""Paths of everything that lasts: the home folder, a folder per run, a shard folder per fingerprint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from thickets.storage.errors import InputError, RunError
from thickets.storage.files import check_can_write, move
from thickets.storage.holder import Holder
from thickets.storage.locks import is_held

# Ids become folder names and parts of URLs, so a separator or a leading dot must not get in.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run.

    Attributes:
        root: ``<home>/runs/<run_id>``.
    """

    root: Path

    @property
    def run_id(self) -> str:
        """The run's id, which is the folder's name."""
        return self.root.name

    @property
    def config(self) -> Path:
        """The config the run was started with, as YAML."""
        return self.root / "config.yaml"

    @property
    def started_in(self) -> Path:
        """The folder that relative paths in ``config`` lead from, as text; see `thickets.flows.config.kept`."""
        return self.root / "started-in"

    @property
    def scores(self) -> Path:
        """The DuckDB file with every score; one process at a time writes to it."""
        return self.root / "scores.duckdb"

    @property
    def candidates(self) -> Path:
        """The registered candidates, for readers while a writer holds ``scores``."""
        return self.root / "candidates.parquet"

    @property
    def examples(self) -> Path:
        """The registered examples, for readers while a writer holds ``scores``."""
        return self.root / "examples.parquet"

    @property
    def prompts(self) -> Path:
        """The rendered prompts of the examples; absent in runs of versions that kept none."""
        return self.root / "prompts.parquet"

    @property
    def dropped(self) -> Path:
        """The candidates that racing has dropped so far, for the same purpose; absent without racing."""
        return self.root / "dropped.parquet"

    @property
    def budget(self) -> Path:
        """How many candidates the budget has paid for so far; absent without a budget."""
        return self.root / "budget.json"

    @property
    def progress(self) -> Path:
        """How far the session in progress is, as JSON; of a run that is not in progress it says nothing."""
        return self.root / "progress.json"

    @property
    def engine_time(self) -> Path:
        """What engines took for the answers of the sessions that ended; absent before the first has."""
        return self.root / "engine-time.json"

    @property
    def fingerprint(self) -> Path:
        """The fingerprint of the run's answers, as text; names its shard folder also before the run is finished."""
        return self.root / "fingerprint"

    @property
    def shards(self) -> Path:
        """The path of the shard folder, as text; absent if the shards are in the home."""
        return self.root / "shards"

    @property
    def other_answers(self) -> Path:
        """Further answers that the run uses (`thickets.storage.shards.uses`), as text; absent if there are none."""
        return self.root / "other-answers"

    @property
    def called(self) -> Path:
        """What people call the run (`thickets rename`), as text; absent if they call it by its id."""
        return self.root / "called"

    @property
    def begun(self) -> Path:
        """When work on the run last began, as text (ISO 8601, UTC); absent if nothing of it was ever scored."""
        return self.root / "begun"

    @property
    def refused(self) -> Path:
        """Why the configuration was refused before anything was scored, as text; absent otherwise."""
        return self.root / "refused"

    @property
    def summary(self) -> Path:
        """The figures of the finished run, as JSON."""
        return self.root / "summary.json"

    @property
    def manifest(self) -> Path:
        """The ensemble: base model identity and K rows of (seed, sigma), as JSON."""
        return self.root / "manifest.json"

    @property
    def merge(self) -> Path:
        """The merge manifest; absent where no merge stands."""
        return self.root / "merge.json"

    @property
    def round(self) -> Path:
        """What the run has cost as a round, as JSON; absent of a run that is none."""
        return self.root / "round.json"

    @property
    def identity(self) -> Path:
        """The values that the fingerprint is the hash of, as JSON."""
        return self.root / "identity.json"

    @property
    def judgement(self) -> Path:
        """Everything that changes a verdict, as JSON; its fingerprint names the verdicts beside the shards."""
        return self.root / "judgement.json"

    @property
    def tracking(self) -> Path:
        """Where MLflow keeps the run, and what it is told that no other file says, as JSON."""
        return self.root / "tracking.json"

    @property
    def unlogged(self) -> Path:
        """The MLflow store that lacks some of the finished run, as text; absent if none of it is missing."""
        return self.root / "unlogged"

    @property
    def report(self) -> Path:
        """The result as one page for a browser."""
        return self.root / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the plots."""
        return self.root / "figures"

    @property
    def lock(self) -> Path:
        """Locked by the process that carries out the run; says which that is (`thickets.storage.holder.Holder`)."""
        return self.root / "run.lock"

    def create(self) -> RunFolder:
        """Create the folder and its ``figures`` if they are absent, and return self."""
        self.figures.mkdir(parents=True, exist_ok=True)
        return self


@dataclass(frozen=True, slots=True)
class Home:
    """The folder that holds every run, every shard and the tracking database.

    Attributes:
        root: The folder, ``storage.home`` in the config.
    """

    root: Path

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.root / "runs"

    @property
    def mlflow_db(self) -> Path:
        """SQLite file of the default MLflow tracking store."""
        return self.root / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Artifact root of the default MLflow tracking store."""
        return self.root / "mlartifacts"

    def flow_run_lock(self, flow_run_id: str) -> Path:
        """Return the file that a process locks for as long as it carries out this Prefect flow run."""
        return self.root / "flow-runs" / f"{_checked_id(flow_run_id)}.lock"

    def run(self, run_id: str) -> RunFolder:
        """Return the paths of one run, which need not exist.

        Raises:
            InputError: ``run_id`` cannot be a folder name.
        """
        return RunFolder(self.runs / _checked_id(run_id))

    def shards(self, fingerprint: str) -> Path:
        """Return the shard folder shared by every run with this fingerprint (N = 500 and its extension to 5000)."""
        return self.root / "shards" / _checked_id(fingerprint)[:16]

    def set_aside(self, run_id: str) -> list[Path]:
        """Move everything in a run's folder but its lock, which the caller holds, to ``replaced``; delete nothing.

        Where that fails, everything is where it was.

        The run's shards are moved by `thickets.storage.shards.folder.ShardFolder.set_aside`.

        Returns:
            The folder that holds the moved files, or nothing if there were none.
        """
        folder = self.run(run_id)
        kept = self.root / "replaced" / f"{run_id}-{timestamp()}"
        try:
            for item in [path for path in folder.root.iterdir() if path != folder.lock]:
                kept.mkdir(parents=True, exist_ok=True)
                move(item, kept / item.name)
        except OSError:
            self.put_back(run_id, [kept])
            raise
        folder.create()
        return [kept] if kept.exists() else []

    def put_back(self, run_id: str, kept: list[Path]) -> None:
        """Move what `set_aside` has just moved to where it was: something of starting over has failed."""
        for folder in (each for each in kept if each.is_dir()):
            for item in [*folder.iterdir()]:
                target = self.run(run_id).root / item.name
                if target.is_dir():
                    target.rmdir()  # made again, and empty
                move(item, target)
            folder.rmdir()

    def sharers(self, run_id: str, fingerprint: str) -> list[str]:
        """Return the other runs of this home whose answers lie in the same shards, and that have some or are running.

        Runs of other homes that share a folder or URL of shards (``storage.shards``) cannot be seen from here.

        Args:
            run_id: The run that is no other.
            fingerprint: The fingerprint of the answers.
        """
        if not self.runs.is_dir():
            return []
        others = (RunFolder(path) for path in sorted(self.runs.iterdir()) if path.name != run_id)
        return [
            other.run_id
            for other in others
            if other.fingerprint.is_file()
            and other.fingerprint.read_text(encoding="utf-8", errors="replace").strip() == fingerprint
            and (other.scores.exists() or self.is_locked(other.run_id))
        ]

    def is_locked(self, run_id: str) -> bool:
        """Return whether a process is carrying out the run right now, as far as it can be told; writes nothing."""
        return is_held(self.run(run_id).lock) is True

    def check_writable(self) -> None:
        """Check that the home can be written to, or made; leave nothing behind.

        Raises:
            InputError: It cannot.
        """
        try:
            check_can_write(self.root)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"storage.home: cannot write to {self.root}: {reason}") from None

    def writable(self) -> Home:
        """Create the home if absent, prove that a file can be written to it, and return self.

        Raises:
            InputError: The home cannot be written to.
        """
        probe = self.root / f".write-check-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise InputError(f"storage.home: cannot write to {self.root}: {error.strerror or error}") from None
        return self

    @contextmanager
    def run_lock(self, run_id: str) -> Iterator[RunFolder]:
        """Lock the run for this process; the operating system releases the lock when the process ends, also by SIGKILL.

        Yields:
            The run's folder, created.

        Raises:
            RunError: Another process, or another flow of this one, holds the run.
        """
        folder = self.run(run_id).create()
        lock = FileLock(folder.lock)
        try:
            lock.acquire(timeout=1)  # `is_locked` of another process holds it for an instant
        except Timeout:
            holder = Holder.parse(folder.lock.read_text(encoding="utf-8", errors="replace"))
            who = "a process that does not say which" if holder is None else holder.title
            raise RunError(f"run {run_id} is already in progress ({who})") from None
        try:
            folder.lock.write_text(f"{Holder.this()}\n", encoding="utf-8")
            yield folder
        finally:
            lock.release()


def model_cache() -> Path:
    """Return the folder for converted base models: ``$THICKETS_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("THICKETS_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("thickets")


def timestamp() -> str:
    """Return the time in UTC to the microsecond, in a form that sorts and can be part of a file name."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


def _checked_id(name: str) -> str:
    if not ID.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a folder; use 1 to 128 letters, digits, '.', '_' and '-', starting with no '.'"
        )
    return name
