"""DuckDB connections: open one, create the schema, run one query into a Polars frame, show the shards as a view."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from thickets.storage.errors import InputError
from thickets.storage.shards.file import SHARD_SCHEMA, list_shards

MEMORY = ":memory:"
_MEMORY = "1GB"
Params = Sequence[Any] | Mapping[str, Any]

_READS = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is what a PIVOT without an IN list is parsed to
_ARROW_TYPES = {
    pl.String: pa.large_string(),
    pl.UInt32: pa.uint32(),
    pl.Boolean: pa.bool_(),
}
_SHARD_FILES = pa.schema(
    [pa.field(name, _ARROW_TYPES[type(dtype)]) for name, dtype in SHARD_SCHEMA.items()]
    + [pa.field("shard_id", pa.large_string())]
)

# Joined through scores: a unit that two runs wrote at once appears once, and rows that this run has not registered do
# not appear.
_COMPLETIONS = """
CREATE OR REPLACE TEMP VIEW completions AS
SELECT s.*, f.completion
FROM scores AS s
JOIN shard_files AS f USING (shard_id, candidate_id, split, example_id)
"""


def connect(path: Path | None, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a database file, or one in memory; Python variables of the caller are never taken for tables."""
    config: dict[str, str | bool | int | float | list[str]] = {"python_enable_replacements": False}
    if path is None:
        return duckdb.connect(MEMORY, config=config)
    # A run shares its machine with engines; what does not fit goes into a temporary file beside the database.
    return duckdb.connect(str(path), read_only=read_only, config=config | {"memory_limit": _MEMORY})


def create_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables and views of ``schema.sql``, unless the database has them.

    A comment on the table ``scores`` holds the hash of the schema that was created: a run opens its database many
    times, and the comparison is cheaper than the statements.
    """
    schema = resources.files("thickets.storage.scores").joinpath("schema.sql").read_text(encoding="utf-8")
    mark = f"schema {hashlib.sha256(schema.encode()).hexdigest()[:16]}"
    known = connection.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'scores'").fetchall()
    if known == [(mark,)]:
        return
    connection.execute(schema)
    connection.execute(f"COMMENT ON TABLE scores IS '{mark}'")


def show_completions(connection: duckdb.DuckDBPyConnection, shards_folder: Path | None) -> None:
    """Create or refresh the view ``completions``: every score with the text it was given for.

    The files are scanned through Arrow, with filters and columns pushed down, and not through DuckDB's own
    ``read_parquet``: so the view also works where DuckDB itself is denied every file.

    Args:
        connection: A database with the schema.
        shards_folder: The fingerprint's shard folder; None or an absent one gives an empty view.
    """
    import pyarrow.dataset as ds  # type: ignore[import-untyped]  # and with it Pandas, which listing runs can do without
    from pyarrow import fs

    parquet, local = ds.ParquetFileFormat(), fs.LocalFileSystem()
    fragments = [
        parquet.make_fragment(str(path), local, ds.field("shard_id") == pa.scalar(path.stem, pa.large_string()))
        for path in (list_shards(shards_folder) if shards_folder else [])
    ]
    connection.register("shard_files", ds.FileSystemDataset(fragments, _SHARD_FILES, parquet, local))
    connection.execute(_COMPLETIONS)


def forbid_files(connection: duckdb.DuckDBPyConnection) -> None:
    """Deny SQL every file, network address, extension and setting from now on; cannot be undone."""
    try:
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except duckdb.InvalidInputException:
        # In one process all connections to a file have the same settings, and another one may have locked them.
        denied = "SELECT NOT current_setting('enable_external_access') AND current_setting('lock_configuration')"
        if connection.execute(denied).fetchall() != [(True,)]:
            raise


def fetch(connection: duckdb.DuckDBPyConnection, sql: str, params: Params = ()) -> pl.DataFrame:
    """Run one reading statement and return its whole result.

    It runs in a read-only transaction: DuckDB 2 takes ``WITH x AS (INSERT ...) SELECT ...`` for a SELECT.

    Raises:
        InputError: The SQL is wrong, is not exactly one statement, or would write; the message is one line.
    """
    with _read(connection, sql, params) as relation:
        return plain_frame(relation.to_arrow_table())


@contextmanager
def stream(
    connection: duckdb.DuckDBPyConnection, sql: str, rows_per_batch: int = 10_000
) -> Iterator[pa.RecordBatchReader]:
    """Run one reading statement and yield its result batch by batch, which is never whole in memory.

    Raises:
        InputError: As for `fetch`, also while batches are read.
    """
    with _read(connection, sql, ()) as relation:
        rows = relation.to_arrow_reader(rows_per_batch)
        try:
            yield rows
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(f"SQL: {one_line(error)}") from None  # DuckDB's, which Arrow has passed on
        finally:
            rows.close()  # the transaction cannot end before it


@contextmanager
def _read(connection: duckdb.DuckDBPyConnection, sql: str, params: Params) -> Iterator[duckdb.DuckDBPyRelation]:
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1:
            raise InputError(f"the SQL has {len(statements)} statements; give exactly one")
        kind = statements[0].type.name
        if kind not in _READS:
            raise InputError(f"the SQL is a {kind} statement; only queries (SELECT, WITH, FROM, DESCRIBE) are allowed")
        connection.execute("BEGIN TRANSACTION READ ONLY")
        try:
            yield connection.sql(sql, params=params or None)
        finally:
            connection.execute("ROLLBACK")
    except duckdb.Error as error:
        raise InputError(f"SQL: {one_line(error)}") from None
    except (pl.exceptions.PolarsError, pa.ArrowException) as error:  # two columns of one name; an INTERVAL or UNION
        raise InputError(f"SQL: the result is no table of plain values: {one_line(error)}") from None


def one_line(error: Exception) -> str:
    """Return the first paragraph of an error's message on one line."""
    return " ".join(str(error).split("\n\n")[0].split())


def plain_frame(rows: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """Turn rows from DuckDB into a frame; its 128-bit sums, which arrive as decimals, into Int64 where they fit."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Decimal) and dtype.scale == 0:
            cast = frame[name].cast(pl.Int64, strict=False)
            if cast.null_count() == frame[name].null_count():
                frame = frame.with_columns(cast)
    return frame
