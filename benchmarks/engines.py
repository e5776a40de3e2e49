"""The engines side by side: the same candidates on the same questions, scored as a run scores them.

    python -m benchmarks.engines [--candidates 50] [--examples 64] [--dtype bfloat16] [--only vllm] [--json FILE]
    python -m benchmarks.engines --settings     vLLM alone, one setting changed per row
    python -m benchmarks.engines --replicas 2 [--cpus 1] [--repeats 3]
                                                one engine on all cores, several of fewer threads in processes of
                                                their own, and on a local Ray, round after round on a busy machine

Every row is a process of its own: Prefect task per shard, judging and Parquet included, no MLflow. "generating" is the
share of the engines' time, from the moment they were built, in which they generated; "of bound" compares the tokens per
second with those of the same engine answering the same questions again and again with the base and nothing else.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.output import parser, show
from thickets.flows.runtime.environment import (  # importing it sets the wait policy before PyTorch reads it
    set_command_line_defaults,
)
from thickets.tasks.scoring.executors.machine import usable_cores

set_command_line_defaults()  # before Prefect is imported

_ONE_ROW = "--one-row"
_ROWS: dict[str, dict[str, Any]] = {
    "transformers": {"kind": "transformers"},
    "transformers, nothing ahead": {"kind": "transformers", "prefetch": False},
    "vllm": {"kind": "vllm"},
    "vllm, next made ahead": {"kind": "vllm", "prefetch": True},
}
# The wait policy is libgomp's own; the engine's settings are those of `thickets.flows.config.run.EngineConfig`.
_SETTINGS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "as it is": ({}, {}),
    "1 thread": ({"threads": 1}, {}),
    "threads that spin while they wait": ({}, {"GOMP_SPINCOUNT": "300000"}),
    "batch of 16": ({"batch_size": 16}, {}),
    "batch of 128": ({"batch_size": 128}, {}),
    "blocks of 128 tokens": ({"vllm": {"block_size": 128}}, {}),
    "no prefix caching": ({"vllm": {"prefix_caching": False}}, {}),
    "compiled": ({"vllm": {"eager": False}}, {}),
}
# As long as the instructions of a real task, so that there is a beginning to share.
_SYSTEM = (
    "You compare numbers. Read all of them before you answer, look at the number of digits first, and then at the "
    "digits from left to right. Answer with the largest number alone, without a sentence around it."
)


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--candidates", type=int, default=50)
    options_parser.add_argument("--examples", type=int, default=64)
    options_parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options_parser.add_argument("--device", default="auto")
    options_parser.add_argument("--model", default="smollm2-135m-instruct")
    options_parser.add_argument("--settings", action="store_true", help="vLLM's settings instead of the engines")
    options_parser.add_argument("--replicas", type=int, help="one engine against so many, instead of the engines")
    options_parser.add_argument("--cpus", type=int, default=1, help="threads of each of these")
    options_parser.add_argument("--repeats", type=int, default=1, help="times the whole table; figures are medians")
    options_parser.add_argument("--system", default="", help="system message of every question")
    options_parser.add_argument("--only", action="append", help="this row alone; repeatable")
    options_parser.add_argument("--engine", help=f"JSON over the row's engine section (with {_ONE_ROW}: all of it)")
    options_parser.add_argument(_ONE_ROW, action="store_true", help="print one row as JSON (used by the others)")
    options = options_parser.parse_args()
    if options.one_row:
        engine = {"dtype": options.dtype, "device": options.device} | json.loads(options.engine)
        print(json.dumps(measure(options.model, options.system, engine, options.candidates, options.examples)))
        return
    changes: dict[str, tuple[dict[str, Any], dict[str, str]]] = {label: (row, {}) for label, row in _ROWS.items()}
    if options.settings:
        changes = {label: ({"kind": "vllm"} | row, environment) for label, (row, environment) in _SETTINGS.items()}
        options.system = options.system or _SYSTEM
    if options.replicas:
        changes = {label: (row, {}) for label, row in _one_and_several(options.replicas, options.cpus).items()}
    names = ("candidates", "examples", "dtype", "device", "model", "system")
    passed_on = [f"--{name}={getattr(options, name)}" for name in names]
    found: dict[str, list[dict[str, float]]] = {}
    for label, (row, environment) in list(changes.items()) * options.repeats:
        if options.only and label not in options.only:
            continue
        # Of one engine the threads are given: the run would else decide on its own how many engines there are.
        engine = ({} if "replicas" in row else {"threads": usable_cores()}) | row | json.loads(options.engine or "{}")
        command = [sys.executable, "-m", "benchmarks.engines", _ONE_ROW, "--engine", json.dumps(engine), *passed_on]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ | environment)
        found.setdefault(label, []).append(json.loads(done.stdout.splitlines()[-1]))
    rows = {
        label: {column: statistics.median(time[column] for time in times) for column in times[0]}
        for label, times in found.items()
    }
    title = f"{options.candidates} candidates x {options.examples} questions, {options.model}, {options.dtype}"
    show(title, rows, options.json)


def _one_and_several(replicas: int, cpus: int) -> dict[str, dict[str, Any]]:
    several = {"replicas": replicas, "cpus": cpus}
    how = {"one": {}, f"{replicas} processes": several, f"{replicas} on Ray": {**several, "executor": "ray"}}
    kinds = ("transformers", "vllm")
    return {f"{kind}, {label}": {"kind": kind, **row} for kind in kinds for label, row in how.items()}


def measure(model: str, system: str, engine: dict[str, Any], n_candidates: int, n_examples: int) -> dict[str, float]:
    """Score a population, and return its row of the table."""
    from prefect import flow

    from thickets.flows.config.file import parse_config
    from thickets.flows.placement.engines import open_cluster, open_executor
    from thickets.flows.plan import make_plan
    from thickets.flows.search.progress import ScoringProgress
    from thickets.tasks.engines import build_engine, resolve_spec
    from thickets.tasks.preparation import prepare_base_model, prepare_splits
    from thickets.tasks.problems import load_problem
    from thickets.tasks.scoring.score import score_shards
    from thickets.tasks.scoring.units import plan_shards
    from thickets.tasks.seeds import candidates_of, population

    progress = ScoringProgress()
    n_tokens = 0

    def count(report: Any) -> None:
        nonlocal n_tokens
        n_tokens += report.n_tokens
        progress.on_unit(report)

    with tempfile.TemporaryDirectory() as home:
        config = parse_config(
            {
                "model": model,
                "problem": {"name": "largest_number", "system": system or None},
                "data": {"selection": n_examples, "validation": 1, "test": 1},
                "population": {"size": n_candidates, "sigmas": [0.003, 0.005, 0.008]},
                "selection": {"k_values": [1]},
                "engine": engine,
                "storage": {"home": home},
            }
        )

        @flow(name="engines-benchmark")
        def score() -> dict[str, float]:
            problem = load_problem(config.single_problem)
            splits = prepare_splits(problem, config.data.draw)
            base = prepare_base_model(config.model, None, trust_remote_code=False)
            with open_cluster(config.engine) as cluster:
                plan = make_plan(config, base, problem, splits, cluster.resolve if cluster else resolve_spec)
                candidates = list(candidates_of(population(n_candidates, config.population.sigmas, 0)))
                shards = plan_shards("selection", plan.n_blocks("selection"), candidates, [], 4)
                with (
                    open_executor(plan, count, build_engine, cluster) as executor,
                    progress.split("selection", n_candidates, 0, executor.n_engines),
                ):
                    score_shards(executor, shards, retries=0)
            spent_cpu_s = cpu_s()
            bound = tokens_per_s_of_the_base(plan) if executor.n_engines == 1 else None
            used = progress.engine
            busy_s = used.scoring_s - used.start_s / executor.n_engines
            return {
                "start_s": used.start_s / executor.n_engines,
                "scoring_s": busy_s,
                "candidates/min": 60 * n_candidates / busy_s,
                "start included": 60 * n_candidates / used.scoring_s,
                "tokens/s": n_tokens / busy_s,
                "load_s each": used.load_s / n_candidates,
                "generating": used.generating_share or 0.0,
                **({"CPU s": spent_cpu_s} if cluster is None else {}),  # Ray's processes are not ours
                **({"of bound": n_tokens / busy_s / bound} if bound else {}),
            }

        return score()


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def tokens_per_s_of_the_base(plan: Any, repeats: int = 5) -> float:
    """Measure plain batched inference: one model, the same prompts, nothing in between."""
    from thickets.tasks.engines import build_engine

    engine = build_engine(plan.engine)
    [block] = [block for block in plan.blocks if block.split == "selection"]
    spent_s, n_tokens = 0.0, 0
    for repeat in range(repeats + 1):
        engine.load(None)  # forget the prompts' beginning, which every candidate computes once
        started = time.perf_counter()
        answers = engine.generate(block.prompts, plan.sampling)
        if repeat:
            spent_s += time.perf_counter() - started
            n_tokens += sum(answer.n_tokens for answer in answers)
    engine.close()
    return n_tokens / spent_s


if __name__ == "__main__":
    main()
