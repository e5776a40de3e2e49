"""How long does each ready query (`thickets sql RUN --named QUERY`) take on a large run, and how much memory?

    python -m benchmarks.sql [--size 5000] [--questions 200] [--k 50] [--json FILE]

A made run (`benchmarks.synthetic_run`) of so many candidates, each with a completion of about 60 words for every
selection question. Every query has a process of its own: the seconds are from opening the run to the last row, with
imports left out, and the peak of memory is the whole process's, libraries included.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.output import parser, show
from benchmarks.synthetic_run import RUN, make_run
from thickets.flows.results.ready_queries import ready_queries
from thickets.flows.results.runs import open_scores
from thickets.storage.home import Home


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--size", type=int, default=5000, help="candidates")
    command.add_argument("--questions", type=int, default=200, help="of each split")
    command.add_argument("--k", type=int, default=50, help="experts that vote")
    command.add_argument("--folder", type=Path, help="where scratch files go (default: the system's)")
    command.add_argument("--one", metavar="QUERY", help="this query on the run in --folder; print JSON")
    command.add_argument("--make", action="store_true", help="only make the run, in --folder")
    options = command.parse_args()
    if options.make:
        make_run(options.folder, options.size, (options.questions,) * 3, options.k)
        return
    if options.one:
        print(json.dumps(measure(options.folder, options.one)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        again = [sys.executable, "-m", "benchmarks.sql", "--folder", folder]
        size = ["--size", str(options.size), "--questions", str(options.questions), "--k", str(options.k)]
        # A process of its own, too: a child's peak of memory begins with that of the process that starts it.
        subprocess.run([*again, "--make", *size], check=True)
        rows: dict[str, dict[str, Any]] = {}
        for name in ready_queries():
            found = subprocess.run([*again, "--one", name], check=True, capture_output=True, text=True)
            rows[name] = json.loads(found.stdout)
    title = f"ready queries, {options.size:,} candidates x {options.questions} questions, {options.k} experts"
    show(title, rows, options.json)


def measure(home: Path, name: str) -> dict[str, Any]:
    """Run a query once, as the command does; return its rows, seconds and peak of memory."""
    sql, where = ready_queries()[name].sql, Home(home)
    import pyarrow.dataset  # type: ignore[import-untyped]  # noqa: F401 - which the first reader of a process imports

    began = time.perf_counter()
    with open_scores(where, where.run(RUN)) as reader, reader.stream(sql) as rows:
        n_rows = sum(batch.num_rows for batch in rows)
    wall_s = time.perf_counter() - began
    return {"rows": n_rows, "wall_s": wall_s, "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


if __name__ == "__main__":
    main()
