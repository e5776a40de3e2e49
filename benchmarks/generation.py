"""How fast one candidate answers: our decoding against plain padded ``generate`` of Transformers.

    python -m benchmarks.generation [--prompts 64] [--max-tokens 12] [--dtype bfloat16] [--repeats 5] [--json FILE]

Both use the same loaded SmolLM2-135M, the quickstart's prompts and greedy decoding, and take turns within a repeat.
Ours computes the prompts' common prefix once, sorts prompts by length, and drops rows that have ended; the plain call
gets all prompts left-padded in one batch, as a script would. "same texts" counts equal answers: in bfloat16
another batch shape alone flips some, in float32 none.

    python -m benchmarks.generation --waits

compares, for our decoding, threads of PyTorch that spin while they wait (its default), that sleep at once, and that
spin briefly (ours, set in flows/environment.py), alone and beside a process that keeps one core busy.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import flows  # noqa: F401  sets the wait policy before PyTorch reads it
from benchmarks.output import parser, seconds, show
from storage.models import resolve_model
from tasks.engines import EngineSpec
from tasks.noise import Perturbation
from tasks.problems import ProblemConfig, load_problem
from tasks.prompts import PromptTemplate
from tasks.types import Candidate, Sampling

_ONE_ROW = "--one-row"
_WAITS = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # libgomp's own default
    "sleeping": {"GOMP_SPINCOUNT": "0"},
    "ours": {},
}


def quickstart_prompts(count: int, template: PromptTemplate) -> list[str]:
    problem = load_problem(ProblemConfig(name="largest_number"))
    return [template.render(problem.messages(example)) for example in problem.examples(count, seed=0)]


def main() -> None:
    options_parser = parser(__doc__)
    options_parser.add_argument("--prompts", type=int, default=64)
    options_parser.add_argument("--max-tokens", type=int, default=12)
    options_parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    options_parser.add_argument("--repeats", type=int, default=5)
    options_parser.add_argument("--waits", action="store_true", help="compare wait policies instead")
    options_parser.add_argument(_ONE_ROW, action="store_true", help="print our median alone (used by --waits)")
    options = options_parser.parse_args()
    if options.waits:
        compare_waits(options.repeats, options.json)
        return

    import torch

    from tasks.engines.transformers import TransformersEngine

    folder = resolve_model("smollm2-135m-instruct").path
    prompts = quickstart_prompts(options.prompts, PromptTemplate.from_folder(folder))
    spec = EngineSpec("transformers", folder, Perturbation(), dtype=options.dtype, batch_size=options.prompts)
    engine = TransformersEngine(spec)
    model, tokenizer = engine._model, engine._tokenizer
    tokenizer.padding_side = "left"

    def ours() -> list[str]:
        engine.load(Candidate(1, 0.003))  # also forgets the prefix: it is part of a candidate's cost
        return [completion.text for completion in engine.generate(prompts, Sampling(options.max_tokens))]

    def padded() -> list[str]:
        engine.load(Candidate(1, 0.003))
        inputs = tokenizer(prompts, add_special_tokens=False, return_tensors="pt", padding=True)
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=options.max_tokens, do_sample=False)
        return tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)

    ways = {"ours": ours} if options.one_row else {"ours": ours, "padded generate": padded}
    times: dict[str, list[float]] = {label: [] for label in ways}
    texts: dict[str, list[str]] = {}
    for repeat in range(options.repeats + 1):
        for label, answer in ways.items():
            started = time.perf_counter()
            texts[label] = answer()
            if repeat:
                times[label].append(time.perf_counter() - started)
    rows = {label: seconds(taken) for label, taken in times.items()}
    if options.one_row:
        print(rows["ours"]["median_s"])
        return
    slowest = rows["padded generate"]["median_s"]
    same = sum(a == b for a, b in zip(*texts.values(), strict=True))
    table = {
        label: row | {"prompts/s": options.prompts / row["median_s"], "times as fast": slowest / row["median_s"]}
        for label, row in rows.items()
    }
    title = f"{options.prompts} prompts, {options.max_tokens} new tokens, {options.dtype}; same texts {same}"
    show(title, table, options.json)


def compare_waits(repeats: int, json_file: Path | None) -> None:
    """Each row in a process of its own, since PyTorch reads the policy once."""
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
