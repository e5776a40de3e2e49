"""The reference procedure against ours: from nothing to an ensemble with its accuracy on the test questions.

    python -m benchmarks.reference [--engine transformers|vllm] [--candidates 48] [--examples 64] [--test 128] [--k 5]
                                   [--ours 'racing={"scoring": {"racing": {}}}'] [--only LABEL] [--json FILE]

The reference (benchmarks/reference_procedure.py) is written from its description in docs/design.md#mistakes. Every row
is a process of its own, one after another. All rows share model, dtype, questions of the selection and the test split,
number of candidates and their sigmas, K, decoding, batch size, threads and how they wait (ours; PyTorch's default is
slower on a busy machine).

They differ in how noise is made and taken away; Transformers' padded ``generate`` or our decoding, vLLM without
or with its prefix cache (a procedure that swaps weights and does not clear it must do without); judging between or
beside generations; and what a run of ours does in addition: it starts Prefect and MLflow, scores the base on the
selection split, scores a validation split, keeps every answer, and writes figures and a report. All of that is in its
time. Controls are off: they are evidence about an ensemble, not part of getting one. On vLLM the reference's weights go
through the reload path as ours do, because packed weights on the CPU cannot be written in place; subtracting is not
reloaded, in its favour.

Further rows of ours, with settings changed, come with ``--ours LABEL=JSON`` (repeatable), which is laid over the
configuration section by section.

Columns: wall_s is the process from its start to its end; start_s of it went by until there were prompts for the engine
(imports, Prefect's server, MLflow), engine_s until the engine was up; weights_s went into making weights, generate_s
into generating; "rest" is everything else. candidates/min counts the selection split alone, with everything up. "minus
ref." is the difference of the two ensembles' test accuracies, paired, with its 95 % interval: where that holds 0, the
ensembles are equal.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.output import parser, show
from thickets.flows.runtime.environment import (  # importing it sets the wait policy before PyTorch reads it
    set_command_line_defaults,
)

_STARTED = time.time()
_ONE_ROW = "--one-row"
_SIGMAS = [0.003, 0.005, 0.008]


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    options_parser.add_argument("--model", default="smollm2-135m-instruct")
    options_parser.add_argument("--candidates", type=int, default=48)
    options_parser.add_argument("--examples", type=int, default=64)
    options_parser.add_argument("--test", type=int, default=128)
    options_parser.add_argument("--k", type=int, default=5)
    options_parser.add_argument("--ours", action="append", default=[], help="LABEL=JSON: a further row of ours")
    options_parser.add_argument("--only", action="append", help="this row alone, or these; the reference first")
    options_parser.add_argument(_ONE_ROW, help="print one row as JSON (used by the others)")
    options = options_parser.parse_args()
    if options.one_row:
        config = json.loads(options.one_row)
        print(json.dumps(measure_ours(config) if config.pop("is_ours") else measure_reference(config)))
        return
    shared = {
        "model": options.model,
        "problem": "largest_number",
        "data": {"selection": options.examples, "validation": options.examples, "test": options.test},
        "population": {"size": options.candidates, "sigmas": _SIGMAS},
        "selection": {"k_values": [options.k]},
        "engine": {"kind": options.engine},
        "controls": {
            "self_consistency": False,
            "random_experts": False,
            "weight_average": False,
            "best_prompt": False,
            "chance": False,
        },
    }
    wanted = {"reference": {"is_ours": False, **shared}, "ours": {"is_ours": True, **shared}}
    for extra in options.ours:
        label, _, changes = extra.partition("=")
        wanted[f"ours, {label}"] = {"is_ours": True, **_merge(shared, json.loads(changes))}
    rows: dict[str, dict[str, Any]] = {}
    for label, config in wanted.items():
        if options.only and label not in options.only:
            continue
        rows[label] = _in_a_process_of_its_own(config)
    _compare(rows)
    title = (
        f"{options.candidates} candidates x {options.examples} questions, K = {options.k} on {options.test} test "
        f"questions, {options.model}, {options.engine}"
    )
    show(title, rows, options.json)


def _merge(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for name, value in changes.items():
        merged[name] = merged[name] | value if isinstance(value, dict) and isinstance(merged.get(name), dict) else value
    return merged


def _in_a_process_of_its_own(config: dict[str, Any]) -> dict[str, Any]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.reference", _ONE_ROW, json.dumps(config)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=dict(os.environ))
    wall_s = time.perf_counter() - started
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    accounted = sum(row[name] for name in ("start_s", "engine_s", "weights_s", "generate_s"))
    return {"wall_s": wall_s, **row, "rest_s": wall_s - accounted}


def _compare(rows: dict[str, dict[str, Any]]) -> None:
    """Add to every other row its speed relative to the reference and the difference of the ensembles' accuracies."""
    from thickets.tasks.statistics import paired_difference

    reference = rows.get("reference")
    votes = {label: row.pop("voted") for label, row in rows.items()}
    for label, row in rows.items():
        if reference is None or label == "reference":
            continue
        row["times as fast"] = reference["wall_s"] / row["wall_s"]
        found = paired_difference(votes[label], votes["reference"])
        row["minus ref."] = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def measure_reference(config: dict[str, Any]) -> dict[str, Any]:
    """Run the reference procedure on what `config` says, and return its row."""
    import torch

    from benchmarks.reference_procedure import PaddedEngine, Procedure, ReloadedEngine
    from thickets.flows.config.file import parse_config
    from thickets.flows.plan import make_plan
    from thickets.storage.models.base import resolve_model
    from thickets.tasks.engines import VllmOptions
    from thickets.tasks.engines.checkpoint import inspect_checkpoint
    from thickets.tasks.problems import load_problem
    from thickets.tasks.problems.splits import draw_splits
    from thickets.tasks.seeds import candidates_of, population

    run = parse_config(config)
    base, problem, data = resolve_model(run.model), load_problem(run.single_problem), run.data
    splits = draw_splits(problem, **data.draw)
    plan = make_plan(run, base, problem, splits)
    begun = time.time()
    if plan.engine.kind == "vllm":
        from thickets.tasks.engines.vllm import VllmEngine

        options = VllmOptions(prefix_caching=False)
        vllm = VllmEngine(replace(plan.engine, vllm=options, prefetch=False))
        tensors = inspect_checkpoint(base.path, plan.engine.dtype).tensors
        engine: Any = ReloadedEngine(vllm, {tensor.name: tensor.read() for tensor in tensors})
    else:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model: Any = AutoModelForCausalLM.from_pretrained(base.path, dtype="auto", local_files_only=True)
        model.eval().requires_grad_(False)
        engine = PaddedEngine(model, AutoTokenizer.from_pretrained(base.path), plan.engine.batch_size)
    up = time.time()
    with torch.inference_mode():
        found = Procedure(engine, problem, plan.sampling).run(
            list(candidates_of(population(run.population.size, run.population.sigmas, run.population.seed))),
            [block for block in plan.blocks if block.split == "selection"],
            [block for block in plan.blocks if block.split == "test"],
            run.selection.k_values[0],
        )
    return {
        "start_s": begun - _STARTED,
        "engine_s": up - begun,
        "weights_s": found.spent.noise_s,
        "generate_s": found.spent.generate_s,
        "candidates/min": 60 * run.population.size / found.selection_s,
        "tokens": found.spent.n_tokens,
        "base %": 100 * found.base / data.test,
        "ensemble %": 100 * sum(found.voted) / data.test,
        "voted": found.voted,
    }


def measure_ours(config: dict[str, Any]) -> dict[str, Any]:
    """Run a search as `thickets run` does, and return its row."""
    set_command_line_defaults()  # before Prefect is imported
    from prefect import flow

    from thickets.flows.config.file import parse_config
    from thickets.flows.results.runs import find_run, open_scores
    from thickets.flows.results.summary import RunSummary, experts_of
    from thickets.flows.search.search import search
    from thickets.storage.home import Home
    from thickets.tasks.evaluation.voting import ballots, vote

    with tempfile.TemporaryDirectory() as folder:
        run = parse_config({**config, "storage": {"home": folder}})

        @flow(name="reference-benchmark")
        def ours() -> RunSummary:
            return search(run)

        with _announcements() as said:
            summary = ours()
        home = Home(Path(folder))
        with open_scores(home, find_run(home, summary.run_id)) as scores:
            voted = vote(ballots(scores, "test", experts_of(summary)), summary.evaluation.k, summary.evaluation.rule)
    use = summary.engine
    engine_s = use.start_s / use.n_engines
    return {
        "start_s": said["selection"] - _STARTED,
        "engine_s": engine_s,
        "weights_s": use.load_s / use.n_engines,
        "generate_s": use.generate_s / use.n_engines,
        "candidates/min": 60 * run.population.size / (said["validation"] - said["selection"] - engine_s),
        "tokens": sum(summary.n_tokens.values()),
        "base %": 100 * summary.evaluation.base.value,
        "ensemble %": 100 * summary.evaluation.ensemble.value,
        "voted": voted["correct"].to_list(),
    }


@contextmanager
def _announcements() -> Iterator[dict[str, float]]:
    """Record by split when the log first names its scoring, in seconds since 1970."""
    said: dict[str, float] = {}

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            label, colon, _ = record.getMessage().partition(": ")
            split = label.partition(" ")[0]  # "selection", or "selection round 1 of 4" with racing
            if colon and split in ("selection", "validation", "test"):
                said.setdefault(split, record.created)

    listener, log = Listener(), logging.getLogger("thickets")
    log.addHandler(listener)
    try:
        yield said
    finally:
        log.removeHandler(listener)


if __name__ == "__main__":
    main()
