"""What each part of our decoding saves, one after another, beside plain padded ``generate`` of Transformers.

    python -m benchmarks.generation [--problem largest_number | reasoning_gym:TASK | gsm8k --path FILE] [--prompts 64]
        [--batch-size 64] [--max-tokens N] [--sigmas 0.003] [--seeds 1] [--dtype bfloat16] [--repeats 5] [--json FILE]

One loaded SmolLM2-135M answers the same questions greedily, as each candidate, in every way; the ways take turns within
a repeat. Each row of the table adds one thing to the row above:

- padded generate: batches in the order of the questions, left-padded, every row computed until the last one ends
- rows end: a row that has ended leaves the batch
- prefix once: what all prompts begin with is computed once per candidate
- sorted: rows of similar length share a batch; this is the engine as it is
- learned limit: `decoding.max_tokens: learned` (tasks/adaptive/token_limit.py), from the base's answers under the limit
  above, which every run needs once

Seconds are about all candidates, without making their weights. "positions" are the tokens that the model computed,
padding included, and "tokens" the new ones of the answers: neither depends on how busy the machine is. "correct" is per
candidate. "same texts" counts equal answers of the first and the fourth row: in bfloat16 another batch shape alone
flips some, in float32 none. For candidates that ramble, raise the limit: ``--max-tokens 512 --sigmas 0.005 0.008``.

    python -m benchmarks.generation --waits

compares, for our decoding, threads of PyTorch that spin while they wait (its default), that sleep at once, and that
spin briefly (ours, set in flows/runtime/environment.py), alone and beside a process that keeps one core busy.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.generation_ways import Answers, Workload
from benchmarks.output import parser, seconds, show

_ONE_ROW = "--one-row"
_WAITS = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # libgomp's own default
    "sleeping": {"GOMP_SPINCOUNT": "0"},
    "ours": {},
}


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--problem", default="largest_number")
    options_parser.add_argument("--path", help="the questions of gsm8k, as JSON lines")
    options_parser.add_argument("--prompts", type=int, default=64)
    options_parser.add_argument("--batch-size", type=int, default=64)
    options_parser.add_argument("--max-tokens", type=int, help="instead of the problem's own limit")
    options_parser.add_argument("--sigmas", type=float, nargs="+", default=[0.003])
    options_parser.add_argument("--seeds", type=int, default=1, help="candidates of each sigma")
    options_parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options_parser.add_argument("--repeats", type=int, default=5)
    options_parser.add_argument("--waits", action="store_true", help="compare wait policies instead")
    options_parser.add_argument(_ONE_ROW, action="store_true", help="print our median alone (used by --waits)")
    options = options_parser.parse_args()
    if options.waits:
        compare_waits(options.repeats, options.json)
        return
    work = Workload(
        problem=options.problem,
        path=options.path,
        count=options.prompts,
        batch_size=options.batch_size,
        max_tokens=options.max_tokens,
        candidates=[(seed, sigma) for sigma in options.sigmas for seed in range(1, options.seeds + 1)],
        dtype=options.dtype,
    )
    if options.one_row:
        print(seconds([work.answer(work.sorted).generate_s for _ in range(options.repeats + 1)][1:])["median_s"])
        return
    compare_ways(work, options)


def compare_ways(work: Workload, options: argparse.Namespace) -> None:
    """Measure every way of the module's docstring, and show one row each."""
    limit = work.learn()
    short = replace(work.sampling, max_tokens=limit.max_tokens)
    ways: dict[str, Callable[[], Answers]] = {
        "padded generate": lambda: work.answer(work.padded),
        "+ rows end": lambda: work.answer(work.rows_end),
        "+ prefix once": lambda: work.answer(work.prefix_once),
        "+ sorted": lambda: work.answer(work.sorted),
        "+ learned limit": lambda: work.answer(work.sorted, short),
    }
    times: dict[str, list[float]] = {label: [] for label in ways}
    found: dict[str, Answers] = {}
    for _ in range(options.repeats):
        for label, way in ways.items():
            found[label] = way()
            times[label].append(found[label].generate_s)
    rows = {label: seconds(taken) for label, taken in times.items()}
    slowest, first = rows["padded generate"]["median_s"], found["padded generate"].texts
    same = sum(a == b for a, b in zip(first, found["+ sorted"].texts, strict=True))
    table = {
        label: row
        | {
            "times as fast": slowest / row["median_s"],
            "positions": found[label].n_positions,
            "tokens": found[label].n_tokens,
            "correct": "/".join(map(str, found[label].n_correct)),
        }
        for label, row in rows.items()
    }
    title = (
        f"{options.prompts} questions of {options.problem} to {len(work.candidates)} candidates, {options.dtype}, "
        f"at most {work.sampling.max_tokens} new tokens, batches of {options.batch_size}; "
        f"same texts {same} of {len(first)}\n"
        f"learned: {limit.sentence} (for {limit.n_tokens:,} tokens of the base)"
    )
    show(title, table, options.json)


def compare_waits(repeats: int, json_file: Path | None) -> None:
    """Measure each wait policy in a process of its own, since PyTorch reads the policy once; show one row each."""
    rows = {}
    for beside in (False, True):
        for label, policy in _WAITS.items():
            busy = multiprocessing.Process(target=_spin, daemon=True) if beside else None
            if busy:
                busy.start()
            try:
                command = [sys.executable, "-m", "benchmarks.generation", _ONE_ROW, "--repeats", str(repeats)]
                environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | policy
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            finally:
                if busy:
                    busy.terminate()
            where = "beside a busy process" if beside else "alone"
            rows[f"{label}, {where}"] = {"median_s": float(done.stdout.split()[-1])}
    show("64 prompts, 12 new tokens, bfloat16, our decoding, by wait policy", rows, json_file)


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
