"""How fast are completions judged, scores ingested and queried, and how much memory does it take?

    python -m benchmarks.storage [--rows 1000000 10000000] [--json FILE]

Shards and verdicts as a run writes them (200 questions, candidates of three sigmas) go through the real `ScoreStore`;
then every query of selection, summary and report runs `--repeats` times. "judge again" judges all completions with the
verifier numeric, as a changed verifier makes the first session do. One process per size, so that its peak of memory is
its own. The files take about 15 bytes a row, and are deleted afterwards.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.output import parser, seconds, show
from thickets.storage.scores.database import BASE_ID, BASE_POSITION, ScoreStore
from thickets.storage.shards.file import SHARD_SCHEMA, VERDICT_SCHEMA, list_shards, verdicts_name, write_shard
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block
from thickets.tasks.seeds import POPULATION_SCHEMA, population
from thickets.tasks.types import Example

RUN = "bench-00000000"
N_QUESTIONS, N_PER_SHARD = 200, 64
FILES_PER_TRANSACTION = 256
SIGMAS = (5e-4, 1e-3, 2e-3)
VERDICTS, OTHERWISE = "0" * 64, "1" * 64


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="score rows, each size")
    command.add_argument("--repeats", type=int, default=5, help="times each question is asked")
    command.add_argument("--folder", type=Path, help="where scratch files go (default: the system's)")
    command.add_argument("--one", action="store_true", help="this size in this process; print JSON")
    options = command.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(json.dumps(measure(options.rows[0], options.repeats, Path(folder))))
        return
    rows: dict[str, dict[str, Any]] = {}
    for n in options.rows:
        one = ["--one", "--rows", str(n), "--repeats", str(options.repeats)]
        where = ["--folder", str(options.folder)] if options.folder else []
        call = [sys.executable, "-m", "benchmarks.storage", *one, *where]
        found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
        rows |= {f"{n / 1e6:g} M rows, {what}": figures for what, figures in found.items()}
    show("score storage: seconds to take in and to ask", rows, options.json)


def measure(n_rows: int, repeats: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Ingest `n_rows` rows and run every query; return the figures by step."""
    n_candidates = n_rows // N_QUESTIONS
    candidates = population(n_candidates, SIGMAS, 0)
    shards = folder / "shards"
    verdicts = shards / verdicts_name(VERDICTS)
    for index, frame in enumerate(make_shards(candidates)):
        name = f"selection-0000-{index:016x}"
        write_shard(shards, name, frame.select(SHARD_SCHEMA.names()))
        write_shard(verdicts, name, frame.select(VERDICT_SCHEMA.names()), VERDICT_SCHEMA)
    base = pl.DataFrame([(BASE_ID, None, 0.0, BASE_POSITION)], schema=POPULATION_SCHEMA, orient="row")
    found: dict[str, dict[str, Any]] = {}
    with ScoreStore.open(folder / "scores.duckdb", RUN, shards) as store:
        started = time.perf_counter()
        store.register(pl.concat([base, candidates]), examples())
        paths = list_shards(verdicts)
        for start in range(0, len(paths), FILES_PER_TRANSACTION):
            store.ingest(paths[start : start + FILES_PER_TRANSACTION])
        took_s = time.perf_counter() - started
        found["take in"] = {"median_s": took_s, "M rows/s": n_rows / 1e6 / took_s}
        for what, ask in questions(store, candidates["candidate_id"].to_list(), paths).items():
            ask()
            found[what] = seconds([_timed(ask) for _ in range(repeats)])
    size = sum(path.stat().st_size for path in folder.glob("scores.duckdb*") if path.is_file())
    kept = {"shards MB": list_shards(shards), "verdicts MB": paths}
    sizes = {what: sum(path.stat().st_size for path in files) / 1e6 for what, files in kept.items()}
    found["files"] = {"database MB": size / 1e6, **sizes}
    found["memory"] = {"peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}
    found["judge again"] = judge_again(folder, candidates, n_rows)
    return found


def judge_again(folder: Path, candidates: pl.DataFrame, n_rows: int) -> dict[str, Any]:
    """Judge every completion with the verifier numeric, and write the verdicts."""
    rows = examples().select("example_id", "question", "answer").iter_rows()
    block = Block("selection", 0, tuple(Example(*row) for row in rows), ("",) * N_QUESTIONS)
    judge = Judge(load_problem(ProblemConfig(name="file", path="unread.jsonl", verifier="numeric")))
    book = ScoreBook(folder / "other.duckdb", folder / "shards", RUN, candidates, [block], judge, OTHERWISE)
    took_s = _timed(book.judge_what_is_left)
    return {"median_s": took_s, "M rows/s": n_rows / 1e6 / took_s}


def questions(store: ScoreStore, ids: list[str], paths: list[Path]) -> dict[str, Callable[[], Any]]:
    """Return the queries of selection, summary, tracking and report, by name."""
    difficulty = "SELECT * EXCLUDE (run_id) FROM example_difficulty WHERE split = 'selection' ORDER BY position"
    return {
        "top 50": lambda: store.leaderboard("selection", limit=50),
        "leaderboard": lambda: store.leaderboard("selection"),
        "scores of all": lambda: store.common_scores("selection"),
        "base": lambda: store.common_base("selection"),
        "sigma statistics": store.sigma_statistics,
        "counts per question": lambda: store.question_counts("selection"),
        "difficulty": lambda: store.query(difficulty),
        "totals": lambda: store.totals("selection"),
        "answers of 50": lambda: store.answers("selection", ids[:50]),
        "texts of one": lambda: store.completions("selection", BASE_ID),
        "first round": lambda: store.sums_in_blocks("selection", 1),
        "what is done": store.done,
        "nothing new": lambda: store.ingest(paths),
    }


def examples() -> pl.DataFrame:
    """Make the questions of the selection split."""
    return pl.DataFrame(
        {
            "split": "selection",
            "example_id": [f"gsm8k-train-{index:05d}" for index in range(N_QUESTIONS)],
            "position": range(N_QUESTIONS),
            "block": 0,
            "question": [f"What is {index} plus {index}?" for index in range(N_QUESTIONS)],
            "answer": [str(2 * index) for index in range(N_QUESTIONS)],
        }
    )


def make_shards(candidates: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the base's shard, then those of the candidates; each respondent has its own chance of a right answer."""
    rng = np.random.default_rng(0)
    ids = examples()["example_id"]
    groups = [[BASE_ID], *(part["candidate_id"].to_list() for part in candidates.iter_slices(N_PER_SHARD))]
    for group in groups:
        n = len(group) * N_QUESTIONS
        chance = np.repeat(rng.normal(0.4, 0.03, len(group)), N_QUESTIONS)
        correct = rng.random(n) < chance
        question = np.tile(np.arange(N_QUESTIONS), len(group))
        answer = np.where(correct, 2 * question, rng.integers(0, 999, n)).astype(str)
        length = rng.integers(60, 257, n)
        yield pl.DataFrame(
            {
                "candidate_id": np.repeat(group, N_QUESTIONS),
                "split": "selection",
                "block": pl.repeat(0, n, dtype=pl.UInt32, eager=True),
                "example_id": pl.concat([ids] * len(group)),
                "score": pl.Series(1000 * correct, dtype=pl.UInt16),
                "correct": correct,
                "answer": pl.Series(answer).set(pl.Series(rng.random(n) < 0.02), None),
                "n_tokens": pl.Series(length, dtype=pl.UInt32),
                "finish_reason": np.where(length == 256, "length", "stop"),
                "completion": [
                    f"There are {n} in each, so it is {said}." for n, said in zip(length, answer, strict=True)
                ],
            }
        )


def _timed(ask: Callable[[], Any]) -> float:
    started = time.perf_counter()
    ask()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
