"""vLLM on a model made on the spot: base, candidates, base again, by answers; and `benchmarks.bound` with it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.gpu_engine import TINY, Amount, timed
from benchmarks.gpu_models import make_model, prompts
from benchmarks.gpu_seen import Seen
from thickets.tasks.engines import build_engine
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate, Completion, Sampling


def vllm(seen: Seen, device: torch.device, tiny: bool, stop_at: float) -> None:
    """Load and ask base, candidates and base again, through vLLM.

    Args:
        seen: Takes the rows.
        device: Where the model is.
        tiny: Hardly any work, on a tiny model.
        stop_at: By `time.monotonic`; no candidate is begun after it.
    """
    amount = TINY if tiny else Amount()
    with tempfile.TemporaryDirectory() as folder:
        model_path = make_model(Path(folder) / "model", "tiny" if tiny else "0.5B", device)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # vLLM asks the driver what is free
        spec = EngineSpec(
            "vllm",
            model_path,
            Perturbation(),
            device=device.type,
            dtype="float32" if device.type == "cpu" else "bfloat16",
            batch_size=amount.prompts,
            max_length=512,
            prefetch=False,
        )
        began = time.monotonic()
        engine = build_engine(spec)
        seen.note("engine started", f"{time.monotonic() - began:.1f} s")
        asked, sampling = prompts(amount.prompts), Sampling(max_tokens=amount.max_tokens)
        engine.load(None)
        base = engine.generate(asked, sampling)
        answers, load_s, generate_s = {_texts(base)}, [], []
        for seed in range(1, amount.candidates + 1):
            if time.monotonic() > stop_at:
                seen.note("stopped for want of time", f"after {len(load_s)} of {amount.candidates} candidates")
                break
            load_s.append(timed(device, lambda seed=seed: engine.load(Candidate(seed, amount.sigma))))  # type: ignore[misc]
            found: list[Completion] = []
            generate_s.append(timed(device, lambda found=found: found.extend(engine.generate(asked, sampling))))  # type: ignore[misc]
            answers.add(_texts(found))
        # Short answers of a tiny model may be those of the base: that candidates differ at all is what is asked.
        seen.check("answers differ between candidates", len(answers) > 1, f"{len(answers)} ways", "more than one")
        engine.load(None)
        again = engine.generate(asked, sampling)
        n_same = sum(one == other for one, other in zip(_texts(base), _texts(again), strict=True))
        seen.check("base again, answers", n_same == len(asked), f"{n_same} equal", f"{len(asked)} equal")
        if load_s:
            load, generate = statistics.median(load_s), statistics.median(generate_s)
            what = f"{amount.prompts} answers of {amount.max_tokens} tokens each"
            seen.note("loading a candidate", f"{load * 1e3:.1f} ms", f"first {load_s[0] * 1e3:.0f} ms")
            seen.note("answering", f"{generate:.2f} s", f"{generate / (load + generate):.0%} of a candidate's time")
            seen.note("candidates a minute", f"{60 / (load + generate):.1f}", what)
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            seen.note("memory in use, whole card", f"{(total - free) / 2**30:.2f} GiB", f"of {total / 2**30:.0f} GiB")
        engine.close()


def bound(seen: Seen, device: torch.device, tiny: bool, stop_at: float) -> None:
    """Measure scoring as a share of plain inference, by `benchmarks.bound` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        model_path = make_model(Path(folder) / "model", "tiny" if tiny else "0.5B", device)
        figures = Path(folder) / "bound.json"
        amount = ["--candidates", "1", "--examples", "4", "--max-tokens", "4"] if tiny else ["--candidates", "8"]
        call = [sys.executable, "-m", "benchmarks.bound", "--engine", "vllm", "--model", str(model_path)]
        subprocess.run(
            [*call, *amount, "--rounds", "1", "--json", str(figures)],
            check=True,
            timeout=max(1.0, stop_at - time.monotonic()),
            env=os.environ | {"THICKETS_HOME": folder},
        )
        for what, row in json.loads(figures.read_text(encoding="utf-8"))["rows"].items():
            share = f"{row['share']:.0%} of plain inference" if "share" in row else ""
            seen.note(what, f"{row['answers/min']:.0f} answers/min, {row['tokens/s']:.0f} tokens/s", share)


def _texts(answers: list[Completion]) -> tuple[str, ...]:
    return tuple(answer.text for answer in answers)
