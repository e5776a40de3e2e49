"""Writes the rows of a query into a file for a spreadsheet or a data frame, a batch at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from thickets.storage.errors import InputError
from thickets.storage.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

SUFFIXES = (".parquet", ".csv")


def check_name(target: Path) -> None:
    """Check, before a query is run, that its rows can be written to a file of this name.

    Raises:
        InputError: The name's end is none that is known, or it is a folder's.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out: found {target.name}; a name that ends in {' or '.join(SUFFIXES)} says what to write")
    if target.is_dir():
        raise InputError(f"--out: {target} is a folder")


def write_table(rows: pa.RecordBatchReader, target: Path) -> int:
    """Write rows as Parquet or CSV (a line of names first), whole or not at all; return how many there were.

    Args:
        rows: The result; one batch of it is in memory at a time.
        target: Replaced if it exists.

    Raises:
        InputError: It cannot be written, or CSV has no way to write a column.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    n_rows = 0
    writer: Any
    try:
        with atomic_path(target) as temporary:
            is_csv = target.suffix.lower() == ".csv"
            make = csv.CSVWriter if is_csv else parquet.ParquetWriter
            with make(str(temporary), rows.schema) as writer:
                for batch in rows:
                    writer.write_batch(batch)
                    n_rows += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:  # lists in CSV; two columns of one name
        raise InputError(f"--out: cannot write this as {target.suffix}: {' '.join(str(error).split())}") from None
    except OSError as error:
        if error.errno is None:
            raise  # the query's own, which Arrow has passed on
        raise InputError(f"--out: cannot write {target}: {error.strerror or error}") from None
    return n_rows
