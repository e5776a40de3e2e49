"""The rows of a page's table as a file, all of them: CSV or Parquet."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]

from thickets.flows.results.table_file import write_table
from thickets.flows.view.candidates_page import BOARD, WantedCandidates
from thickets.flows.view.candidates_page import SORTS as CANDIDATE_SORTS
from thickets.flows.view.examples_page import SORTS, WHO, Wanted, chosen, common_parameters
from thickets.flows.view.opened import OpenRun
from thickets.storage.errors import InputError

FORMATS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def write_rows(run: OpenRun, what: Wanted | WantedCandidates, ending: str) -> Path:
    """Write the rows that a page is a part of into a temporary file, which the caller deletes.

    Raises:
        InputError: The ending is none of `FORMATS`.
    """
    if ending not in FORMATS:
        raise InputError(f"rows: found .{ending}; allowed are {', '.join(f'.{each}' for each in FORMATS)}")
    if isinstance(what, Wanted):
        where, params = chosen(what)
        sql = f"WITH {WHO} SELECT * EXCLUDE (base_shard) FROM questions WHERE {where} ORDER BY {SORTS[what.sort]}"
        params = common_parameters(run, what) | params
    else:
        sql, params = f"{BOARD} ORDER BY {CANDIDATE_SORTS[what.sort]}", what.parameters
    table = run.reader.query(sql, params).to_arrow()  # a line per question or candidate: thousands, no replies
    with tempfile.NamedTemporaryFile(suffix=f".{ending}", prefix="thickets-", delete=False) as file:
        target = Path(file.name)
    write_table(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), target)
    return target
