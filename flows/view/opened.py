"""Opens runs for the pages: briefly, beside a writer from its shards, and with tables that are made once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from thickets.flows.results.run_tables import run_tables
from thickets.flows.results.runs import find_run, shards_folder
from thickets.flows.view.loops import SCHEMA as LOOPS
from thickets.flows.view.loops import Loops
from thickets.flows.view.tables import view_tables
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.scores.late_tables import LateTable
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.scores.reader import ScoreReader, read_only

_MOST_RUNS = 8
"""Runs whose tables are kept; the one that was not looked at for longest goes first."""
_CLOSING_S = 5.0
_SNAPSHOT_S = 3.0
_SNAPSHOT_COSTS = 20.0
"""A snapshot of a run in progress is kept for at least so many seconds, and so many times what it took to make."""


@dataclass
class OpenRun:
    """A run while a page is made.

    Attributes:
        reader: Its scores, with the tables of `run_tables` and `view_tables`, and ``loops``.
        shards: The folder of its completions; None: not on this machine.
        is_running: Whether a process carries it out now.
        share_read: Share of the shards in which looping replies are known.
        version: Changes when its figures do.
    """

    home: Home
    folder: RunFolder
    reader: ScoreReader
    shards: Path | None
    is_running: bool
    share_read: float
    version: object

    def rows(self, sql: str, params: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Run a query with named parameters and return its rows."""
        return self.reader.query(sql, params or {}).to_dicts()


@dataclass
class _Kept:
    """What is kept of one run between pages."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    version: object = None
    tables: dict[str, pl.DataFrame] = field(default_factory=dict)
    snapshot: ScoreReader | None = None
    taken: float = 0.0
    cost_s: float = 0.0
    loops: Loops | None = None
    preparing: threading.Thread | None = None


class Runs:
    """The runs of a home, for several threads."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str) -> RunFolder:
        """Find a run; see `thickets.flows.results.runs.find_run`."""
        folder = None if name == "latest" else self.home.run(name)
        return folder if folder is not None and folder.config.is_file() else find_run(self.home, name)

    @contextmanager
    def open(self, folder: RunFolder) -> Iterator[OpenRun]:
        """Open a run; one page at a time reads it.

        Raises:
            InputError: It holds no scores, or they cannot be read.
        """
        kept = self._keep(folder.run_id)
        with kept.lock:
            shards = shards_folder(self.home, folder)
            is_running = self.home.is_locked(folder.run_id)
            if shards is not None and kept.loops is None:
                kept.loops = Loops(shards)
            if is_running and _can_be_copied(folder, shards):
                reader = self._snapshot(kept, folder, shards)
                yield OpenRun(self.home, folder, reader, shards, True, _share(kept), kept.taken)
                return
            self._forget_snapshot(kept)
            with read_only(folder.root, shards, self._tables(kept, folder)) as reader:
                yield OpenRun(self.home, folder, reader, shards, is_running, _share(kept), kept.version)

    def prepare(self, folder: RunFolder) -> None:
        """Begin to make the tables that other pages of a run need, in the background."""
        kept = self._keep(folder.run_id)
        if kept.version != _version(folder) and kept.preparing is None:
            kept.preparing = threading.Thread(target=self._prepare, args=(folder,), name="prepare", daemon=True)
            kept.preparing.start()

    def _prepare(self, folder: RunFolder) -> None:
        with suppress(InputError), self.open(folder) as run:
            run.rows("SELECT 1 FROM board, questions, loops LIMIT 0")

    def _keep(self, run_id: str) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(run_id, _Kept())
            self._kept.move_to_end(run_id)
            while len(self._kept) > _MOST_RUNS:
                _, oldest = self._kept.popitem(last=False)
                if oldest.loops is not None:
                    oldest.loops.stop()
            return kept

    def close(self) -> None:
        """End the threads in the background: at the end of Python, one that still reads would abort the process."""
        with self._lock:
            every = list(self._kept.values())
        loops = [kept.loops for kept in every if kept.loops is not None]
        for each in loops:
            each.stop()
        for each in loops:
            each.wait(_CLOSING_S)
        for kept in every:
            if kept.preparing is not None:
                kept.preparing.join(_CLOSING_S)

    def _tables(self, kept: _Kept, folder: RunFolder) -> dict[str, LateTable]:
        version = _version(folder)
        if kept.version != version:
            kept.version, kept.tables = version, {}
        found = {name: _remembered(name, table, kept.tables) for name, table in _all_tables(folder).items()}
        return found | {"loops": _loops(kept)}

    def _snapshot(self, kept: _Kept, folder: RunFolder, shards: Path | None) -> ScoreReader:
        age_s = time.monotonic() - kept.taken
        if kept.snapshot is None or age_s > max(_SNAPSHOT_S, _SNAPSHOT_COSTS * kept.cost_s):
            began = time.monotonic()
            fresh = read_only(folder.root, shards, _all_tables(folder) | {"loops": _loops(kept)}, leave_to_writer=True)
            self._forget_snapshot(kept)
            kept.snapshot, kept.taken = fresh, time.monotonic()
            kept.cost_s = kept.taken - began
        return kept.snapshot

    def _forget_snapshot(self, kept: _Kept) -> None:
        if kept.snapshot is not None:
            kept.snapshot.close()
            kept.snapshot = None


def _all_tables(folder: RunFolder) -> dict[str, LateTable]:
    return run_tables(folder) | view_tables(folder)


def _remembered(name: str, table: LateTable, known: dict[str, pl.DataFrame]) -> LateTable:
    def make(scores: ScoreQueries) -> pl.DataFrame:
        if name not in known:
            known[name] = table.make(scores)
        return known[name]

    return LateTable(table.schema, make, table.why_absent)


def _loops(kept: _Kept) -> LateTable:
    return LateTable(LOOPS, lambda _: pl.DataFrame(schema=LOOPS) if kept.loops is None else kept.loops.frame())


def _share(kept: _Kept) -> float:
    return 1.0 if kept.loops is None else kept.loops.share_read


def _can_be_copied(folder: RunFolder, shards: Path | None) -> bool:
    known = (folder.candidates, folder.examples, folder.judgement)
    return shards is not None and all(path.is_file() for path in known)


def _version(folder: RunFolder) -> object:
    """Return what changes when a run's figures do."""
    return tuple(_stamp(path) for path in (folder.summary, folder.scores, folder.prompts))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
