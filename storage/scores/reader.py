"""A run's scores for reading only, also while the run is in progress."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import RunFolder
from thickets.storage.scores.database import ScoreStore, is_locked
from thickets.storage.scores.late_tables import LateTable, LateTables
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.scores.sql import Params, connect, fetch, forbid_files, one_line, show_completions, stream
from thickets.storage.shards.file import list_shards, verdicts_name

log = logging.getLogger(__name__)

_ABOUT_COMPLETIONS = re.compile(r"\bcompletions?\b", re.IGNORECASE)


class ScoreReader(ScoreQueries):
    """A run's scores, read-only: SQL can neither write nor reach any file, address, extension or setting.

    Attributes:
        run_id: The run that is read.
        is_snapshot: True if a writer held the database, so that the scores were read from the shards into memory, as
            they were when the reader was opened.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        run_id: str,
        shards: Path | None,
        tables: Mapping[str, LateTable] | None = None,
        *,
        is_snapshot: bool,
    ) -> None:
        self.run_id = run_id
        self.is_snapshot = is_snapshot
        self._connection = connection
        self._lock = threading.RLock()  # making a late table queries again
        self._shards = shards
        self._has_told = False
        show_completions(connection, shards)
        forbid_files(connection)
        self._late = LateTables(connection, tables or {})

    def query(self, sql: str, params: Params = ()) -> pl.DataFrame:
        """Run one query; see ``ScoreQueries.query``. One about completions that are not here says so in the log."""
        with self._prepared(sql):
            return fetch(self._connection, sql, params)

    @contextmanager
    def _prepared(self, sql: str) -> Iterator[None]:
        """Fill the late tables that a query names; say which completions are missing, or why a table is."""
        with self._lock:
            self._tell_what_is_missing(sql)
            self._late.fill(sql, self)
            try:
                yield
            except InputError as error:
                raise self._late.explained(error) from None

    def _tell_what_is_missing(self, sql: str) -> None:
        if self._has_told or not _ABOUT_COMPLETIONS.search(sql):
            return
        self._has_told = True
        scored = fetch(self._connection, "SELECT DISTINCT shard_id FROM scores")["shard_id"].to_list()
        here = {path.stem for path in (list_shards(self._shards) if self._shards else [])}
        if missing := set(scored) - here:
            log.warning(
                "%d of the %d shards of run %s are not in %s, so their completions are missing here; copy that folder "
                "from where the run was made",
                *(len(missing), len(scored), self.run_id, self._shards or "any folder"),
            )

    @contextmanager
    def stream(self, sql: str, rows_per_batch: int = 10_000) -> Iterator[pa.RecordBatchReader]:
        """Run one query and yield its rows batch by batch; see `thickets.storage.scores.sql.stream`.

        Raises:
            InputError: The statement cannot be run.
        """
        with self._prepared(sql), stream(self._connection, sql, rows_per_batch) as rows:
            yield rows

    def close(self) -> None:
        """Close the database; a run cannot start while a reader holds it."""
        self._connection.close()


def read_only(
    run_folder: Path,
    shards_folder: Path | None,
    tables: Mapping[str, LateTable] | None = None,
    *,
    leave_to_writer: bool = False,
) -> ScoreReader:
    """Open the scores of a run for reading; use as a context manager and close soon.

    Args:
        run_folder: ``<home>/runs/<run_id>``.
        shards_folder: The fingerprint's shard folder; without it there are no ``completions``, and no way to read
            while a writer holds the database.
        tables: Tables beside the scores, by name, each made when a query first names it.
        leave_to_writer: Do not open the database, for which a run in progress would have to wait: read the shards.

    Raises:
        InputError: The folder holds no scores, or they cannot be read.
    """
    folder = RunFolder(run_folder)
    if leave_to_writer:
        return _snapshot(folder, shards_folder, tables)
    if folder.scores.exists():
        try:
            connection = connect(folder.scores, read_only=True)
        except duckdb.Error as error:
            if not is_locked(error):
                raise InputError(f"cannot read {folder.scores}: {one_line(error)}") from None
        else:
            try:
                return ScoreReader(connection, _run_in(connection, folder), shards_folder, tables, is_snapshot=False)
            except duckdb.Error as error:  # a database without our tables: a start was killed before it made them
                connection.close()
                raise InputError(f"{folder.scores} holds no scores: {one_line(error)}") from None
    elif not folder.candidates.exists():
        raise InputError(f"{run_folder} holds no scores; name the folder of a run that has been started")
    return _snapshot(folder, shards_folder, tables)


def _run_in(connection: duckdb.DuckDBPyConnection, folder: RunFolder) -> str:
    """Return the id of the run in a database, which the name of its folder is not where that was copied or renamed."""
    found = connection.execute("SELECT DISTINCT run_id FROM candidates").fetchall()
    return str(found[0][0]) if len(found) == 1 else folder.run_id


def _snapshot(folder: RunFolder, shards_folder: Path | None, tables: Mapping[str, LateTable] | None) -> ScoreReader:
    known = (folder.candidates, folder.examples, folder.judgement)
    if shards_folder is None or not all(path.exists() for path in known):
        raise InputError(f"{folder.scores} is held by the process that carries out the run; try again later")
    connection = connect(None)
    store = ScoreStore(connection, folder.run_id)
    try:
        store.register(
            pl.read_parquet(folder.candidates, hive_partitioning=False),
            pl.read_parquet(folder.examples, hive_partitioning=False),
        )
        judgement = fingerprint(json.loads(folder.judgement.read_text(encoding="utf-8")))
        dropped = pl.read_parquet(folder.dropped, hive_partitioning=False) if folder.dropped.exists() else None
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(f"cannot read what {folder.root} holds beside its scores: {one_line(error)}") from None
    store.ingest(list_shards(shards_folder / verdicts_name(judgement)))
    if dropped is not None:
        store.record_dropped(dropped)
    return ScoreReader(connection, folder.run_id, shards_folder, tables, is_snapshot=True)
