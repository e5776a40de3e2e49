"""The score database of a run: takes in verdicts, each answer once, for one writing process at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import duckdb
import polars as pl

from thickets.storage.errors import RunError, TransientError
from thickets.storage.files import atomic_path
from thickets.storage.scores.intake import FORGET, FRESH, INCOMING, REGISTERED, SEEN, TAKE, TAKEN, UNITS
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.scores.sql import Params, connect, create_schema, fetch, one_line, show_completions
from thickets.storage.shards.file import SUFFIX, VERDICT_SCHEMA, is_intact, is_readable, quarantine

log = logging.getLogger(__name__)

# How long a result waits for whoever reads the database; nothing is lost meanwhile.
PATIENCE_S = 600.0
# A query takes seconds; whoever holds the database for longer is worth a line in the log.
_TELL_AFTER_S = 10.0

BASE_ID = "base"
# Positions of respondents that are no candidates.
BASE_POSITION, CONTROL_POSITION = -1, -2

CANDIDATE_SCHEMA = pl.Schema(
    {"candidate_id": pl.String, "seed": pl.UInt64, "sigma": pl.Float64, "position": pl.Int32},
)
EXAMPLE_SCHEMA = pl.Schema(
    {
        "split": pl.String,
        "example_id": pl.String,
        "position": pl.Int32,
        "block": pl.UInt32,
        "question": pl.String,
        "answer": pl.String,
    },
)
DROPPED_SCHEMA = pl.Schema({"candidate_id": pl.String, "n_blocks": pl.UInt32})


class ScoreStore(ScoreQueries):
    """Every score of one run, for writing. One process per file; its threads may share the store.

    Use as a context manager. A kill at any moment loses at most the call in progress, and repeating that call adds
    the missing rows only. Without a folder (a database in memory) no file is written or renamed.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        run_id: str,
        folder: Path | None = None,
        shards: Path | None = None,
    ) -> None:
        self.run_id = run_id
        self._connection = connection
        self._folder = folder
        self._shards = shards
        # DuckDB raises when threads share a connection, and a cursor would not see the temporary views.
        self._lock = threading.RLock()
        create_schema(connection)

    @classmethod
    def open(cls, path: Path, run_id: str, shards: Path | None = None, *, wait_s: float = PATIENCE_S) -> Self:
        """Open or create the database file for writing.

        Args:
            path: ``scores.duckdb`` in the run's folder, where candidates.parquet and examples.parquet are kept too.
            run_id: The run whose rows are written.
            shards: The fingerprint's shard folder, for the view ``completions``.
            wait_s: How long to wait for another process to close the file (a reader may hold it for minutes).

        Raises:
            TransientError: Another process still holds the file.
            RunError: The file is no DuckDB database.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        began, told = time.monotonic(), False
        while True:
            try:
                return cls(connect(path), run_id, path.parent, shards)
            except duckdb.Error as error:
                if not is_locked(error):
                    raise RunError(f"cannot open {path}: {one_line(error)}") from None
                waited_s = time.monotonic() - began
                if waited_s >= wait_s:
                    raise TransientError(f"{path} is in use by another process; close it and start again") from None
                if waited_s > _TELL_AFTER_S and not told:
                    log.warning("waiting for another process to close %s, at most %.0f minutes", path, wait_s / 60)
                    told = True
            time.sleep(0.1)

    def register(self, candidates: pl.DataFrame, examples: pl.DataFrame) -> None:
        """Register the candidates and examples of the run; registered rows stay, new ones extend the run.

        Args:
            candidates: candidate_id, seed (null for the base and controls), sigma, position (-1 for the base, whose id
                is "base", and -2 for controls).
            examples: split, example_id, position, block, question, answer.

        Raises:
            RunError: A registered row has the same id and other content, or an id is given twice.
        """
        frames = {
            "candidates": _with_schema("candidates", candidates, CANDIDATE_SCHEMA, ["candidate_id"]),
            "examples": _with_schema("examples", examples, EXAMPLE_SCHEMA, ["split", "example_id"]),
        }
        with self._transaction():
            for table, frame in frames.items():
                self._register_rows(table, frame)
        if self._folder:
            self._save("candidates", "position, candidate_id")
            self._save("examples", "split, position, example_id")

    def ingest(self, paths: Iterable[Path]) -> int:
        """Take in the verdicts on shards in one transaction, and return how many rows are new.

        Rows of candidates and examples that are not registered are left out. A file that was taken in is not read
        again, unless it has such rows and more was registered since. A damaged one is quarantined with a warning, and
        its units stay undone.

        Args:
            paths: Files of verdicts; each has the name of its shard.

        Raises:
            RunError: A file does not exist.
        """
        with self._lock:
            run = {"run_id": self.run_id}
            [(n_registered,)] = self._connection.execute(REGISTERED, run).fetchall()
            seen = set(fetch(self._connection, SEEN, {**run, "n_registered": n_registered})["shard_id"])
            files = sorted({path for path in paths if path.stem not in seen}, key=lambda path: path.name)
            _check_present(files)
            files = self._without(files, [path for path in files if not is_intact(path)])
            try:
                return self._take(files, n_registered)
            except duckdb.Error as error:
                _check_present(files)
                # A file without a checksum, as older versions wrote, is not known to be damaged before it is read.
                broken = [path for path in files if not is_readable(path, VERDICT_SCHEMA)]
                if not broken:
                    raise RunError(f"cannot take in {len(files)} shards: {one_line(error)}") from error
                return self._take(self._without(files, broken), n_registered)

    def forget(self, shard_ids: Iterable[str]) -> None:
        """Remove the scores that came from some shards, so that their units are undone; unknown ones are left out."""
        with self._lock:
            known = fetch(self._connection, "SELECT shard_id FROM shards WHERE run_id = ?", [self.run_id])
            run = {"run_id": self.run_id, "shards": sorted({*shard_ids} & {*known["shard_id"]})}
            if not run["shards"]:
                return
            with self._transaction() as connection:
                for statement in FORGET:
                    connection.execute(statement, run).fetchall()

    def record_dropped(self, dropped: pl.DataFrame) -> None:
        """Record which candidates racing has dropped, in place of those recorded before.

        Args:
            dropped: candidate_id, n_blocks (blocks of the selection split that it was scored on); one row each.
        """
        frame = _with_schema("dropped", dropped, DROPPED_SCHEMA, ["candidate_id"])
        with self._transaction() as connection:
            connection.execute("DELETE FROM dropped WHERE run_id = ?", [self.run_id]).fetchall()
            connection.register("new_dropped", frame.to_arrow())
            try:
                connection.execute(
                    "INSERT INTO dropped BY NAME SELECT ? AS run_id, * FROM new_dropped", [self.run_id]
                ).fetchall()
            finally:
                connection.unregister("new_dropped")
        if self._folder:
            self._save("dropped", "n_blocks, candidate_id")

    def query(self, sql: str, params: Params = ()) -> pl.DataFrame:
        """Run one query; see ``ScoreQueries.query``."""
        with self._lock:
            if "completions" in sql.lower():
                show_completions(self._connection, self._shards)
            return fetch(self._connection, sql, params)

    def close(self) -> None:
        """Write everything into the file and close it."""
        with self._lock:
            self._connection.close()

    def _without(self, files: list[Path], broken: list[Path]) -> list[Path]:
        """Quarantine some of the files and return the others; a store in memory renames nothing."""
        for path in broken:
            if self._folder:
                quarantine(path)
            else:
                log.warning("shard %s is unreadable or damaged; left out", path.name)
        return [path for path in files if path not in broken]

    def _take(self, files: list[Path], n_registered: int) -> int:
        if not files:
            return 0
        run = {"run_id": self.run_id}
        with self._transaction() as connection:
            connection.execute(INCOMING, {**run, "files": [str(path) for path in files]}).fetchall()
            connection.execute(FRESH, run).fetchall()
            [(n_new,)] = connection.execute(TAKE, run).fetchall()
            connection.execute(UNITS, run).fetchall()
            connection.execute(TAKEN, {**run, "n_registered": n_registered}).fetchall()
            connection.execute("DROP TABLE incoming; DROP TABLE fresh").fetchall()
        return int(n_new)

    def _register_rows(self, table: str, frame: pl.DataFrame) -> None:
        keys = {"candidates": ["candidate_id"], "examples": ["split", "example_id"]}[table]
        same_key = " AND ".join(f"old.{name} = new.{name}" for name in keys)
        same_row = " AND ".join(f"old.{name} IS NOT DISTINCT FROM new.{name}" for name in frame.columns)
        self._connection.register("registered", frame.to_arrow())
        try:
            changed = self._connection.execute(
                f"SELECT {', '.join(f'new.{name}' for name in keys)} FROM {table} AS old JOIN registered AS new "
                f"ON {same_key} WHERE old.run_id = ? AND NOT ({same_row}) ORDER BY ALL",
                [self.run_id],
            ).fetchall()
            if changed:
                raise RunError(
                    f"run {self.run_id} holds other content for {len(changed)} of its {table}, "
                    f"{' / '.join(changed[0])} among them; start a new run"
                )
            self._connection.execute(
                f"INSERT INTO {table} BY NAME SELECT ? AS run_id, * FROM registered ON CONFLICT DO NOTHING",
                [self.run_id],
            ).fetchall()
        finally:
            self._connection.unregister("registered")

    def _save(self, table: str, order: str) -> None:
        assert self._folder is not None
        frame = self.query(f"SELECT * EXCLUDE (run_id) FROM {table} WHERE run_id = ? ORDER BY {order}", [self.run_id])
        with atomic_path(self._folder / f"{table}{SUFFIX}") as temporary:
            frame.write_parquet(temporary, compression="zstd")

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")


def is_locked(error: duckdb.Error) -> bool:
    """Return whether an error says that a writer, of any process, holds the database."""
    text = str(error)
    return "Could not set lock" in text or "different configuration" in text


def _check_present(files: list[Path]) -> None:
    missing = [path for path in files if not path.exists()]
    if missing:
        raise RunError(f"shard {missing[0]} does not exist")


def _with_schema(what: str, frame: pl.DataFrame, schema: pl.Schema, keys: list[str]) -> pl.DataFrame:
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise RunError(f"{what}: no column {', '.join(missing)}; given are {', '.join(frame.columns)}")
    frame = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    twice = frame.filter(frame.select(keys).is_duplicated())
    if twice.height:
        raise RunError(f"{what}: {' / '.join(twice.select(keys).row(0))} is given twice")
    return frame
