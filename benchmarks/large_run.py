"""What benchmarks on a large made run have in common: it is made, and everything is measured, in other processes.

A process's peak of memory begins with that of the process that starts it, and holds for all that it does: so whoever
makes the run measures nothing.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.output import parser, show
from benchmarks.synthetic_run import make_run

Rows: TypeAlias = dict[str, dict[str, Any]]


def measure_large_run(
    module: str, doc: str | None, what: str, parts: Iterable[str], measure: Callable[[Path, str], Rows]
) -> None:
    """Be the command of a benchmark: make the run, measure each part in a process of its own, show the table.

    Args:
        module: The benchmark's, which calls this again in each process.
        doc: Its docstring.
        what: Is measured, for the title.
        parts: Their names.
        measure: Measures a part of the run in a home, and returns rows of the table.
    """
    command = parser(doc)
    command.add_argument("--size", type=int, default=5000, help="candidates")
    command.add_argument("--questions", type=int, default=200, help="of each split")
    command.add_argument("--k", type=int, default=50, help="experts that vote")
    command.add_argument("--folder", type=Path, help="where scratch files go (default: the system's)")
    command.add_argument("--make", action="store_true", help="only make the run, in --folder")
    command.add_argument("--one", metavar="PART", help="measure this part of the run in --folder; print JSON")
    options = command.parse_args()
    if options.make:
        make_run(options.folder, options.size, (options.questions,) * 3, options.k)
        return
    if options.one:
        print(json.dumps(measure(options.folder, options.one)))
        return
    rows: Rows = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        again = [sys.executable, "-m", module, "--folder", folder]
        size = ["--size", str(options.size), "--questions", str(options.questions), "--k", str(options.k)]
        subprocess.run([*again, "--make", *size], check=True)
        for part in parts:
            found = subprocess.run([*again, "--one", part], check=True, stdout=subprocess.PIPE, text=True)
            rows |= json.loads(found.stdout)
    title = f"{what}, {options.size:,} candidates x {options.questions} questions, {options.k} experts"
    show(title, rows, options.json)


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB, libraries included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
