"""The rows of a page's table as a file, all of them: CSV or Parquet."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from thickets.flows.results.table_file import write_table
from thickets.storage.errors import InputError
from thickets.tasks.results.intervals import Accuracy, Difference

FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def check_ending(ending: str) -> str:
    """Return it, or raise an `InputError`: it is none of `FORMATS`."""
    if ending not in FORMATS:
        raise InputError(f"rows: found .{ending}; allowed are {', '.join(f'.{each}' for each in FORMATS)}")
    return ending


def write_rows(rows: pl.DataFrame, ending: str) -> Path:
    """Write rows into a temporary file, which the caller deletes: a line per question or candidate, thousands at most.

    Raises:
        InputError: The ending is none of `FORMATS`.
    """
    table = rows.to_arrow()
    with tempfile.NamedTemporaryFile(suffix=f".{check_ending(ending)}", prefix="thickets-", delete=False) as file:
        target = Path(file.name)
    write_table(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), target)
    return target


def spread(name: str, found: Accuracy | Difference | None) -> dict[str, float | None]:
    """Return a figure and its interval as three columns: ``base``, ``base_low``, ``base_high``."""
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def spread_schema(name: str) -> dict[str, pl.DataType]:
    """Return the columns of `spread`."""
    return dict.fromkeys((name, f"{name}_low", f"{name}_high"), pl.Float64())
