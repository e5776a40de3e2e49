"""How long does each ready query (`thickets sql RUN --named QUERY`) take on a large run, and how much memory?

    python -m benchmarks.sql [--size 5000] [--questions 200] [--k 50] [--json FILE]

A made run (`benchmarks.synthetic_run`) of so many candidates, each with a completion of about 60 words for every
selection question. Every query has a process of its own: the seconds are from opening the run to the last row, with
imports left out, and the peak of memory is the whole process's, libraries included.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.large_run import Rows, measure_large_run, peak_mb
from benchmarks.synthetic_run import RUN
from thickets.flows.results.ready_queries import ready_queries
from thickets.flows.results.runs import open_scores
from thickets.storage.home import Home


def main() -> None:
    measure_large_run("benchmarks.sql", __doc__, "ready queries", ready_queries(), measure)


def measure(home: Path, name: str) -> Rows:
    """Run a query once, as the command does; return its rows, seconds and peak of memory."""
    sql, where = ready_queries()[name].sql, Home(home)
    import pyarrow.dataset  # type: ignore[import-untyped]  # noqa: F401 - which the first reader of a process imports

    began = time.perf_counter()
    with open_scores(where, where.run(RUN)) as reader, reader.stream(sql) as rows:
        n_rows = sum(batch.num_rows for batch in rows)
    return {name: {"rows": n_rows, "wall_s": time.perf_counter() - began, "peak MB": peak_mb()}}


if __name__ == "__main__":
    main()
