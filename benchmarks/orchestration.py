"""What everything but the engine costs: a whole run with an engine that answers at once.

    python -m benchmarks.orchestration [--candidates 100 1000 10000] [--examples 200] [--json FILE]
    python -m benchmarks.orchestration --commands MODEL    # a folder, best of a tiny model: what the command costs

The engine is a stand-in for measuring only: it returns a number at once, so the wall time is that of Prefect (the start
of its temporary server included, unless one is running), MLflow, extraction and verification, Parquet, DuckDB,
selection, voting, figures. The base model, its tokenizer and prompts are real.

With `--commands` nothing is a stand-in: `thickets run` of 9 candidates and 8 tokens an answer, as a user calls it, in
processor seconds of its process and all that it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from prefect import flow

from benchmarks.output import parser, show
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.environment import set_command_line_defaults
from thickets.flows.search.search import search
from thickets.tasks.engines import EngineSpec
from thickets.tasks.types import Average, Completion, Sampling, Weights


class InstantEngine:
    """Answers every prompt with a number that depends on candidate, prompt and sampling."""

    def __init__(self, spec: EngineSpec) -> None:
        self._seed = 0

    def load(self, weights: Weights | None) -> None:
        members = weights.members if isinstance(weights, Average) else [weights] if weights else []
        self._seed = sum(member.seed for member in members)

    def prepare(self, weights: Weights) -> None:
        pass

    def generate(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        seed = self._seed + sampling.seed
        return [Completion(f"It is {(seed + 7 * place) % 997}.", 6, "stop") for place, _ in enumerate(prompts)]

    def close(self) -> None:
        pass


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--candidates", type=int, nargs="+", default=[100, 1000, 10_000], help="each size")
    options_parser.add_argument("--examples", type=int, default=200)
    options_parser.add_argument("--commands", type=Path, metavar="MODEL", help="measure the command line instead")
    options = options_parser.parse_args()
    if options.commands:
        show("thickets run, 9 candidates", measure_commands(options.commands.resolve()), options.json)
        return
    set_command_line_defaults()
    rows = {f"{n:,} candidates": measure(n, options.examples) for n in options.candidates}
    show(f"a run with an engine that answers at once, {options.examples} questions", rows, options.json)


def measure(n_candidates: int, n_examples: int) -> dict[str, float]:
    """Run one whole search, from its configuration to its report, and return its row of the table."""
    with tempfile.TemporaryDirectory() as home:
        config = parse_config(
            {
                "problem": "largest_number",
                "data": {"selection": n_examples, "validation": n_examples, "test": n_examples},
                "population": {"size": n_candidates},
                "selection": {"k_values": [5, 10, 25, 50]},
                "engine": {"kind": "transformers"},  # what the double stands in for: one engine in this process
                "storage": {"home": home},
            }
        )

        @flow(name="orchestration-benchmark")
        def run() -> RunSummary:
            return search(config, build=InstantEngine)

        started = time.perf_counter()
        summary = run()
        wall_s = time.perf_counter() - started
        stored = sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file())
    engine_s = summary.engine.load_s + summary.engine.generate_s
    return {
        "answers": n_candidates * n_examples,
        "wall_s": wall_s,
        "engine_s": engine_s,
        "rest_s": wall_s - engine_s,
        "rest ms/candidate": 1000 * (wall_s - engine_s) / n_candidates,
        "disk MB": stored / 1e6,
    }


def measure_commands(model: Path) -> dict[str, dict[str, float]]:
    """Run the command in a fresh home (Prefect's own too), again with nothing left to do, and beside `thickets up`."""
    with tempfile.TemporaryDirectory() as scratch:
        home, beside = Path(scratch) / "home", Path(scratch) / "beside"
        os.environ["PREFECT_HOME"] = str(Path(scratch) / "prefect")
        rows = {
            "in a fresh home": _spent(_start(model, home)),
            "nothing left to do": _spent(_start(model, home)),
        }
        services = [sys.executable, "-m", "thickets"]
        ports = ["--detach", "--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0"]
        subprocess.run([*services, "up", "--home", str(beside), *ports], check=True, capture_output=True)
        try:
            rows["beside `thickets up`"] = _spent(_start(model, beside))
            rows["nothing left, beside it"] = _spent(_start(model, beside))
        finally:
            subprocess.run([*services, "down", "--home", str(beside)], check=True, capture_output=True)
    return rows


def _start(model: Path, home: Path) -> list[str]:
    values = {
        "model": str(model),
        "problem": {"name": "largest_number", "options": {"below": 30, "count": 2}},
        "data": {"selection": 12, "validation": 10, "test": 14},
        "population": {"size": 9, "sigmas": [0.05, 0.1, 0.2]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu", "threads": 1},
        "selection": {"k_values": [1, 3, 5]},
        "storage": {"home": str(home)},
    }
    config = home.with_suffix(".yaml")
    config.write_text(dump_config(parse_config(values)))
    return [sys.executable, "-m", "thickets", "run", str(config)]


def _spent(command: list[str]) -> dict[str, float]:
    """Run a command, which waits for what it starts, and return its wall and processor time."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall_s, after = time.perf_counter() - started, os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return {"processor_s": cpu_s, "wall_s": wall_s}


if __name__ == "__main__":
    main()
