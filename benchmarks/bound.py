"""What share of plain batched inference does scoring reach?

    python -m benchmarks.bound [--engine transformers|vllm] [--problem 'JSON'] [--max-tokens N]
                               [--candidates 12] [--examples 128] [--rounds 3] [--json FILE]

The bound is the engine answering the same prompts as many times, with the base's weights and nothing between: no
candidate is loaded, nothing is judged, written, tracked or counted. The saturated bound has all these prompts in one
call, so that the engine's batch is full but at the very end; no search can reach it, since a candidate's answers end
before the next one's weights are loaded. vLLM is told not to share between the copies of a prompt what it has read
(`cache_salt`); Transformers reads the beginning that all prompts share once instead of once a copy.

Against the bounds, the selection split is scored as a run scores it, Prefect's tasks, shards and score database
included. Each measure has a process of its own; they take turns, round by round, so that a machine whose speed drifts
favours none, and the first round is not counted. The candidates' sigma is so small that they answer as the base does,
token for token nearly: the work is the same. load_s and generate_s are the engine's part of scoring. cpu_s are
processor seconds, Prefect's server included: beside other work they can be compared where seconds cannot. The prefix
cache is emptied before every call of any measure, as new weights demand.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.output import parser, seconds, show
from thickets.flows.runtime.environment import set_command_line_defaults
from thickets.tasks.scoring.executors.machine import usable_cores

_SIGMA = 1e-5
_Round = dict[str, float]


def main() -> None:
    command = parser(__doc__)
    command.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    command.add_argument("--model", default="smollm2-135m-instruct")
    command.add_argument("--problem", default="largest_number", help="its name, or its section of a config as JSON")
    command.add_argument("--max-tokens", type=int, help="default: the problem's own")
    command.add_argument("--candidates", type=int, default=12)
    command.add_argument("--examples", type=int, default=128, help="questions, answered together")
    command.add_argument("--rounds", type=int, default=3, help="times each is measured")
    command.add_argument("--one", choices=list(_MEASURES), help="this one, in this process; print JSON")
    options = command.parse_args()
    if options.one:
        set_command_line_defaults()  # before Prefect is imported
        with tempfile.TemporaryDirectory() as folder:
            _MEASURES[options.one](options, _plan(options, Path(folder)))
        return
    found = _taking_turns(options.rounds)
    n_answers = options.candidates * options.examples
    rows: dict[str, dict[str, Any]] = {}
    for what, rounds in found.items():
        took = seconds([one["took_s"] for one in rounds])
        n_tokens, total_s = sum(one["n_tokens"] for one in rounds), sum(one["took_s"] for one in rounds)
        engine = {name: statistics.median(one[name] for one in rounds) for name in ("load_s", "generate_s", "cpu_s")}
        rate = {"answers/min": 60 * n_answers / took["median_s"], "tokens/s": n_tokens / total_s}
        rows[what] = {**took, **engine, **rate}
    for bound, column in (("plain inference", "of plain"), ("saturated", "of saturated")):
        pairs = zip(found[bound], found["scoring"], strict=True)
        rows["scoring"][column] = statistics.median(one["took_s"] / scoring["took_s"] for one, scoring in pairs)
    cpu_of = {what: sum(one["cpu_s"] for one in rounds) for what, rounds in found.items()}
    rows["scoring"]["cpu of plain"] = cpu_of["plain inference"] / cpu_of["scoring"]
    title = f"{options.candidates} x {options.examples} questions, {options.model}, {options.engine}"
    show(title, rows, options.json)


def _taking_turns(n_rounds: int) -> dict[str, list[_Round]]:
    """Run every measure in its process, one round at a time in turn; return all rounds but the first."""
    call = [sys.executable, "-m", "benchmarks.bound", *sys.argv[1:], "--one"]
    processes = {
        what: subprocess.Popen([*call, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for what in _MEASURES
    }
    found: dict[str, list[_Round]] = {what: [] for what in _MEASURES}
    for _ in range(n_rounds + 1):
        for what, process in processes.items():
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            found[what].append(json.loads(process.stdout.readline() or sys.exit(f"{what} failed")))
    for process in processes.values():
        process.communicate()
    return {what: rounds[1:] for what, rounds in found.items()}


def _turns(n_rounds: int) -> Iterator[int]:
    """Yield the number of every round, once it is this process's turn."""
    for number in range(n_rounds + 1):
        sys.stdin.readline()
        yield number


def _plan(options: Any, folder: Path) -> Any:
    from thickets.flows.config.file import parse_config
    from thickets.flows.plan import make_plan
    from thickets.storage.models.base import resolve_model
    from thickets.tasks.problems import load_problem
    from thickets.tasks.problems.splits import draw_splits

    config = parse_config(
        {
            "model": options.model,
            "problem": json.loads(options.problem) if options.problem.startswith("{") else options.problem,
            "decoding": {"max_tokens": options.max_tokens},
            "data": {"selection": options.examples, "validation": 1, "test": 1},
            "population": {"size": options.candidates * (options.rounds + 1), "sigmas": [_SIGMA]},
            "selection": {"k_values": [1]},
            # Its threads are given, or the run would take several engines where vLLM has many answers to give.
            "engine": {"kind": options.engine, "threads": usable_cores()},
            "scoring": {"examples_per_block": options.examples},
            "storage": {"home": str(folder)},
        }
    )
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=1, test=1, seed=data.seed)
    return make_plan(config, resolve_model(config.model), problem, splits)


def measure_plain(options: Any, plan: Any) -> None:
    """Measure generation alone."""
    from thickets.tasks.engines import build_engine

    engine = build_engine(plan.engine)
    [block] = [block for block in plan.blocks if block.split == "selection"]
    for _ in _turns(options.rounds):
        took_s, n_tokens, cpu_s = 0.0, 0, _cpu_s()
        for _ in range(options.candidates):
            started = time.perf_counter()
            completions = engine.generate(block.prompts, plan.sampling)
            took_s += time.perf_counter() - started
            n_tokens += sum(completion.n_tokens for completion in completions)
        _say(took_s, n_tokens, 0.0, took_s, _cpu_s() - cpu_s)
    engine.close()


def measure_saturated(options: Any, plan: Any) -> None:
    """Measure generation alone, with the prompts of all candidates in one call."""
    from thickets.tasks.engines import build_engine

    engine = build_engine(plan.engine)
    [block] = [block for block in plan.blocks if block.split == "selection"]
    for _ in _turns(options.rounds):
        started, cpu_s = time.perf_counter(), _cpu_s()
        completions = _all_at_once(engine, block.prompts, options.candidates, plan.sampling)
        took_s = time.perf_counter() - started
        _say(took_s, sum(completion.n_tokens for completion in completions), 0.0, took_s, _cpu_s() - cpu_s)
    engine.close()


def _all_at_once(engine: Any, prompts: Sequence[str], n_times: int, sampling: Any) -> Sequence[Any]:
    if not hasattr(engine, "_llm"):
        answers: Sequence[Any] = engine.generate(prompts * n_times, sampling)
        return answers
    from thickets.tasks.engines.stops import StopChecker
    from thickets.tasks.engines.token_answers import TokenAnswers

    engine._forget()
    rows = engine._reader.ids(prompts)
    asked = [{"prompt_token_ids": row, "cache_salt": str(copy)} for copy in range(n_times) for row in rows]
    outputs = engine._llm.generate(asked, engine._params(sampling, len(asked)), use_tqdm=False)
    tokens = [list(output.outputs[0].token_ids) for output in outputs]
    return TokenAnswers(tokens, StopChecker(engine._tokenizer, engine._eos_ids, sampling.stop)).completions()


def measure_scoring(options: Any, plan: Any) -> None:
    """Measure the selection split as a run scores it."""
    from prefect import flow

    from thickets.flows.placement.engines import open_executor
    from thickets.flows.runtime.temporary_server import TemporaryServer
    from thickets.flows.search.candidates import score_selection
    from thickets.flows.search.progress import ScoringProgress
    from thickets.flows.search.scoring import Scoring
    from thickets.tasks.engines import build_engine
    from thickets.tasks.seeds import population

    config = plan.config
    everybody = population(config.population.size, config.population.sigmas, config.population.seed)

    @flow(name="bound-benchmark")
    def scored() -> None:
        progress = ScoringProgress()
        with open_executor(plan, progress.on_unit, build_engine) as executor:
            for number in _turns(options.rounds):
                part = everybody.slice(number * options.candidates, options.candidates)
                database = config.storage.home / f"{number}.duckdb"
                book = plan.book(database, plan.run_id, part)
                scoring = Scoring(plan, book, executor, progress)
                scoring.ask("selection", [None])  # as in a run, where the engine is up by then
                before, cpu_s, started = progress.engine, _cpu_s(), time.perf_counter()
                score_selection(scoring, part)
                took_s = time.perf_counter() - started
                cpu_s = _cpu_s() - cpu_s
                with book.open() as store:
                    n_tokens = store.totals("selection")["n_tokens"].item()
                after = progress.engine
                _say(took_s, n_tokens, after.load_s - before.load_s, after.generate_s - before.generate_s, cpu_s)

    with TemporaryServer().serving():  # as the command line has it
        scored()


def _say(took_s: float, n_tokens: int, load_s: float, generate_s: float, cpu_s: float) -> None:
    round_: _Round = {"took_s": took_s, "n_tokens": n_tokens, "load_s": load_s, "generate_s": generate_s}
    print(json.dumps(round_ | {"cpu_s": cpu_s}), flush=True)


def _cpu_s() -> float:
    """Processor seconds so far of this process and of those that it has started."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (this, *this.children(recursive=True)))


_MEASURES = {"plain inference": measure_plain, "saturated": measure_saturated, "scoring": measure_scoring}

if __name__ == "__main__":
    main()
