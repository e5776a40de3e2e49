"""What share of plain batched inference does scoring reach?

    python -m benchmarks.bound [--engine transformers|vllm] [--candidates 12] [--examples 128] [--json FILE]

The bound is the engine asked the same prompts as many times, with the base's weights and nothing between: no candidate
is loaded, nothing is judged, written, tracked or counted. Against it, the selection split is scored as a run does it,
Prefect's tasks, shards and score database included. Each in a process of its own, one after the other, after a first
round that is not counted. The candidates' sigma is so small that they answer as the base does, token for token nearly:
the work is the same. The prefix cache is emptied before every batch of either, as new weights demand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.output import parser, seconds, show
from flows.environment import set_command_line_defaults

_SIGMA = 1e-5


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    command.add_argument("--model", default="smollm2-135m-instruct")
    command.add_argument("--candidates", type=int, default=12)
    command.add_argument("--examples", type=int, default=128, help="questions, answered together")
    command.add_argument("--rounds", type=int, default=3, help="times each is measured")
    command.add_argument("--one", choices=list(_MEASURES), help="this one, in this process; print JSON")
    options = command.parse_args()
    if options.one:
        set_command_line_defaults()  # before Prefect is imported
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(_MEASURES[options.one](options, _plan(options, Path(folder)))))
        return
    found = {what: _in_a_process_of_its_own(what) for what in _MEASURES}
    n_answers = options.candidates * options.examples
    rows: dict[str, dict[str, Any]] = {}
    for what, rounds in found.items():
        took = seconds([one["took_s"] for one in rounds])
        n_tokens, total_s = sum(one["n_tokens"] for one in rounds), sum(one["took_s"] for one in rounds)
        rows[what] = {**took, "answers/min": 60 * n_answers / took["median_s"], "tokens/s": n_tokens / total_s}
    bound, ours = rows.values()
    ours["share"] = bound["median_s"] / ours["median_s"]
    show(f"{options.candidates} x {options.examples} questions, {options.model}, {options.engine}", rows, options.json)


def _in_a_process_of_its_own(what: str) -> list[dict[str, float]]:
    call = [sys.executable, "-m", "benchmarks.bound", *sys.argv[1:], "--one", what]
    done = subprocess.run(call, stdout=subprocess.PIPE, check=True, text=True, env=dict(os.environ))
    rounds: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return rounds[1:]


def _plan(options: Any, folder: Path) -> Any:
    from flows.config_file import parse_config
    from flows.plan import make_plan
    from storage.models import resolve_model
    from tasks.problems import load_problem
    from tasks.splits import draw_splits

    config = parse_config(
        {
            "model": options.model,
            "problem": "largest_number",
            "data": {"selection": options.examples, "validation": 1, "test": 1},
            "population": {"size": options.candidates * (options.rounds + 1), "sigmas": [_SIGMA]},
            "selection": {"k_values": [1]},
            "engine": {"kind": options.engine},
            "scoring": {"examples_per_block": options.examples},
            "storage": {"home": str(folder)},
        }
    )
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=1, test=1, seed=data.seed)
    return make_plan(config, resolve_model(config.model), problem, splits)


def measure_plain(options: Any, plan: Any) -> list[dict[str, float]]:
    """Nothing but generation: seconds and tokens of every round."""
    from tasks.engines import build_engine

    engine = build_engine(plan.engine)
    [block] = [block for block in plan.blocks if block.split == "selection"]
    rounds = []
    for _ in range(options.rounds + 1):
        took_s, n_tokens = 0.0, 0
        for _ in range(options.candidates):
            engine.load(None)  # empties the prefix cache; not counted
            started = time.perf_counter()
            completions = engine.generate(block.prompts, plan.sampling)
            took_s += time.perf_counter() - started
            n_tokens += sum(completion.n_tokens for completion in completions)
        rounds.append({"took_s": took_s, "n_tokens": n_tokens})
    engine.close()
    return rounds


def measure_scoring(options: Any, plan: Any) -> list[dict[str, float]]:
    """The selection split as a run scores it: seconds and tokens of every round."""
    from prefect import flow

    from flows.executor import open_executor
    from flows.progress import ScoringProgress
    from flows.racing import score_selection
    from flows.stages import score_split
    from tasks.aggregation import ScoreBook
    from tasks.engines import build_engine
    from tasks.seeds import population

    config = plan.config
    everybody = population(config.population.size, config.population.sigmas, config.population.seed)

    @flow(name="bound-benchmark")
    def scored() -> list[dict[str, float]]:
        progress, rounds = ScoringProgress(), []
        with open_executor(plan, progress.on_unit, build_engine) as executor:
            for part in everybody.iter_slices(options.candidates):
                database = config.storage.home / f"{len(rounds)}.duckdb"
                book = ScoreBook(database, plan.shards, plan.run_id, part, plan.blocks)
                score = partial(score_split, plan, book, executor, progress)
                score("selection", [None])  # as in a run, where the engine is up by then
                started = time.perf_counter()
                score_selection(plan, book, part, score)
                took_s = time.perf_counter() - started
                with book.open() as store:
                    n_tokens = store.totals("selection")["n_tokens"].item()
                rounds.append({"took_s": took_s, "n_tokens": n_tokens})
        return rounds

    return scored()


_MEASURES = {"plain inference": measure_plain, "scoring": measure_scoring}

if __name__ == "__main__":
    main()
