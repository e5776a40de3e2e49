"""The small search that `benchmarks.chaos` disturbs: its starts, its shards and its result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from benchmarks.chaos_model import sections
from benchmarks.chaos_start import Start, Timing, shards_in
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.results.runs import find_run, load_summary, open_scores
from thickets.storage.home import Home

_ROOT = Path(__file__).parents[1]
# A run of seconds that has not ended after this long hangs. A server that is away is waited for, and a busy machine
# takes its time.
PATIENCE_S = 240.0
# What would lead a run to another home or another server than the benchmark's.
_OURS = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "THICKETS_HOME", "PREFECT_HOME", "THICKETS_AUTH")


class NotSurvivedError(Exception):
    """A run did not come through what was done to it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What must be the same after any disturbance."""

    manifest: bytes
    evaluation: str
    answers: pl.DataFrame

    def differences(self, other: Result) -> list[str]:
        """Return in words what is not the same."""
        found = []
        if self.manifest != other.manifest:
            found.append("the manifest (seeds and sigmas) is another")
        if self.evaluation != other.evaluation:
            found.append("the evaluation is another")
        if not self.answers.equals(other.answers):
            found.append(f"answers differ ({self.answers.height} rows here, {other.answers.height} undisturbed)")
        return found


@dataclass
class Search:
    """One search in a home of its own, started again and again until it is finished.

    Attributes:
        folder: For its configuration, and the logs of its starts.
        home: Its home.
        model: Folder of the model.
        environment: Of every start.
        timing: That of the undisturbed run; None for that run itself.
        disk: The file system of its own that the home is on, if it is.
    """

    folder: Path
    home: Path
    model: Path
    environment: Mapping[str, str]
    timing: Timing | None = None
    disk: Path | None = None
    is_finished: bool = False
    starts: list[Start] = field(default_factory=list)
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    _owed: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._config = self.folder / "search.yaml"
        self._config.write_text(dump_config(parse_config(sections(self.model, self.home))))

    def start(self, *overrides: str, environment: Mapping[str, str] | None = None) -> Start:
        """Begin the search, or go on with it."""
        command = ["thickets", "run", str(self._config)]
        for override in overrides:
            command += ["--set", override]
        return self._start(command, environment, None)

    def submit(self, environment: Mapping[str, str], worker_log: Path) -> Start:
        """Have a worker begin the search, or go on with it."""
        return self._start(["benchmarks.chaos_submit", str(self._config)], environment, worker_log)

    def _start(self, command: list[str], environment: Mapping[str, str] | None, worker_log: Path | None) -> Start:
        self.is_finished = False
        log, variables = self.folder / f"start-{len(self.starts)}.log", {**self.environment, **(environment or {})}
        command = [sys.executable, "-m", *command]
        self.starts.append(Start(command, variables, log, self.home, worker_log=worker_log))
        return self.starts[-1]

    def ends_before(
        self, start: Start, share: float, ready: Callable[[], object] = lambda: True, *, of_scoring: bool = False
    ) -> bool:
        """Wait until a start has done a share of what it has still to do.

        Args:
            start: The start.
            share: Of what is left once the run is locked for it.
            ready: What must be there first; the share is then of what is left after it.
            of_scoring: See `Start.ends_before_share`.

        Returns:
            Whether it has ended by itself before.
        """
        assert self.timing is not None
        if start.ends_before(lambda: start.begun and ready()):
            return True
        return start.ends_before_share(share, self.timing, of_scoring=of_scoring)

    def end_well(self, start: Start, *, unless: str | None = None) -> bool:
        """Wait for a start to end by itself.

        Args:
            start: The start.
            unless: What its log says if it may fail.

        Returns:
            Whether it has finished the search.

        Raises:
            NotSurvivedError: It has not ended in time, or with an error that it may not end with.
        """
        try:
            status = start.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            start.kill()
            raise NotSurvivedError(f"had not ended after {PATIENCE_S:.0f} s: {self.last_words(start)}") from None
        if status == 0:
            self.is_finished = True
            self._time(start)
        elif unless is None or not any(unless in line for line in start.lines()):
            raise NotSurvivedError(f"ended with status {status}: {self.last_words(start)}")
        return status == 0

    def last_words(self, start: Start) -> str:
        """Return the end of a start's log, in one line."""
        return " / ".join(line.strip()[:300] for line in start.lines()[-3:])

    def shards(self) -> list[Path]:
        """Return the finished shards."""
        return shards_in(self.home)

    def _time(self, start: Start) -> None:
        """Learn from a start that has just ended how fast one can be."""
        if self.timing is None or start.begun is None:
            return
        if start.n_shards > start.n_before:
            took_s = time.time() - max(path.stat().st_mtime for path in self.shards())
            self.timing.wrap_up_s = min(self.timing.wrap_up_s, took_s)
        else:
            self.timing.idle_s = min(self.timing.idle_s, time.time() - start.begun)

    def verdicts(self) -> list[Path]:
        """Return the finished files of verdicts."""
        return sorted(path for path in self.home.glob("shards/*/verdicts-*/*.parquet") if path.name[0] != ".")

    def databases(self) -> list[Path]:
        """Return the score database, if it is there."""
        return list(self.home.glob("runs/*/scores.duckdb"))

    def will_be_named(self, damaged: Path) -> None:
        """Have a later start name a damaged shard in its log, and make it again."""
        self._owed.append((damaged.stem, len(self.starts)))

    def look(self) -> None:
        """Compare the shards with those that were there before.

        Raises:
            NotSurvivedError: A finished shard was written again, or is gone.
        """
        damaged = {name for name, _ in self._owed}
        found = {path.name: path.stat() for path in self.shards()}
        now = {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in found.items()}
        changed = [name for name, was in self._seen.items() if now.get(name) != was and Path(name).stem not in damaged]
        self._seen = now
        if changed:
            what = "written again" if changed[0] in now else "gone"
            raise NotSurvivedError(f"{len(changed)} finished shards are {what}, the first is {changed[0]}")

    def check(self, undisturbed: Result) -> None:
        """Compare the finished search with the undisturbed one.

        Raises:
            NotSurvivedError: It differs, something was answered twice, or a damage is in no log.
        """
        faults = result(self.home).differences(undisturbed)
        keys = ["candidate_id", "split", "example_id"]
        rows = pl.concat([pl.read_parquet(path, columns=keys, hive_partitioning=False) for path in self.shards()])
        if rows.is_duplicated().any():
            faults.append("something was answered twice")
        for name, first in self._owed:
            if not any(name in line for start in self.starts[first:] for line in start.lines()):
                faults.append(f"no log names the damaged shard {name}")
        if faults:
            raise NotSurvivedError("; ".join(faults))


def measure(search: Search) -> Timing:
    """Take a search to its end without disturbing it.

    Raises:
        NotSurvivedError: It has failed.
    """
    start = search.start()
    search.end_well(start)
    ended = time.time()
    written = [path.stat().st_mtime for path in search.shards()]
    assert start.begun is not None
    wrap_up_s = ended - max(written)
    shard_s = (max(written) - min(written)) / (len(written) - 1)
    return Timing(len(written), min(written) - start.begun, shard_s, wrap_up_s, wrap_up_s)


def result(home: Path) -> Result:
    """Read the result of a finished search."""
    folder = find_run(Home(home), "latest")
    with open_scores(Home(home), folder) as reader:
        answers = reader.query(
            "select candidate_id, split, example_id, answer, correct, completion from completions order by all"
        )
    return Result(folder.manifest.read_bytes(), load_summary(folder).evaluation.model_dump_json(), answers)


def environment_in(folder: Path) -> dict[str, str]:
    """Return the variables of a start whose servers keep what they know in `folder`."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    paths = os.pathsep.join([str(_ROOT), *filter(None, [kept.get("PYTHONPATH")])])
    # A tiny model has nothing to share out between threads.
    return {**kept, "PYTHONPATH": paths, "PREFECT_HOME": str(folder / "prefect"), "OMP_NUM_THREADS": "1"}
