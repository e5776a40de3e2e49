"""An engine on a model made on the spot: base, candidates, base again, by checksum; memory; candidates a minute."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from benchmarks.gpu_memory import report_memory
from benchmarks.gpu_models import make_model, prompts
from benchmarks.gpu_noise import synchronize
from benchmarks.gpu_seen import Seen
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.checksums import checksums
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.types import Candidate, Sampling

_EDGE_LEN = 4096  # weights compared at either end of every tensor


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is done.

    Attributes:
        candidates: Candidates loaded between base and base.
        prompts: Prompts that each answers, in one batch.
        max_tokens: Most tokens of an answer; a random model hardly ever ends one before.
        sigma: Of all candidates.
    """

    candidates: int = 20
    prompts: int = 200
    max_tokens: int = 64
    sigma: float = 1e-3


TINY = Amount(prompts=4, max_tokens=4, sigma=0.05)


def look(seen: Seen, size: str, device: torch.device, amount: Amount, stop_at: float) -> None:
    """Load and ask base, candidates and base again.

    Args:
        seen: Takes the rows.
        size: Of `gpu_models.SHAPES`.
        device: Where the model is.
        amount: How much is done, if there is time.
        stop_at: By `time.monotonic`; no candidate is begun after it.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        model_path = make_model(Path(folder) / "model", size, device)
        seen.note("model made", f"{time.monotonic() - began:.1f} s")
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        spec = EngineSpec(
            "transformers",
            model_path,
            Perturbation(),
            device=str(device),
            dtype="bfloat16",
            batch_size=amount.prompts,
            prefetch=False,  # the same work on every device
        )
        began = time.monotonic()
        engine = TransformersEngine(spec)
        synchronize(device)
        seen.note("engine started", f"{time.monotonic() - began:.1f} s", f"{engine.n_perturbed / 1e9:.2f} G weights")
        _compare(seen, engine, model_path, device, amount, stop_at)
        row_tokens = max(map(len, prompts(amount.prompts))) + amount.max_tokens  # a token is a character
        report_memory(seen, spec, engine.model, device, row_tokens)
        engine.close()
        if device.type == "cuda":
            left = torch.cuda.memory_allocated(device) / 2**30
            seen.check("memory left after closing", left < 0.1, f"{left:.2f} GiB", "under 0.1 GiB")


def _compare(
    seen: Seen, engine: TransformersEngine, model_path: Path, device: torch.device, amount: Amount, stop_at: float
) -> None:
    asked, sampling = prompts(amount.prompts), Sampling(max_tokens=amount.max_tokens)
    engine.load(None)
    base_sum, base_sha256 = checksum(engine.model), engine.weights_sha256()
    base_answers = engine.generate(asked, sampling)
    sums, load_s, generate_s, n_tokens = [], [], [], 0
    for seed in range(1, amount.candidates + 1):
        if time.monotonic() > stop_at:
            seen.note("stopped for want of time", f"after {len(sums)} of {amount.candidates} candidates")
            break
        candidate = Candidate(seed, amount.sigma)
        load_s.append(timed(device, lambda candidate=candidate: engine.load(candidate)))
        sums.append(checksum(engine.model))
        if seed == 1:
            wrong, n = _n_wrong(engine.model, model_path, candidate)
            seen.check("first candidate, bits that differ", wrong == 0, f"{wrong} of {n} weights", "0")
        answers: list[Any] = []
        generate_s.append(timed(device, lambda answers=answers: answers.extend(engine.generate(asked, sampling))))
        n_tokens += sum(answer.n_tokens for answer in answers)
    distinct = len({base_sum, *sums})
    seen.check(
        "checksums, base and candidates", distinct == len(sums) + 1, f"{distinct} distinct", f"{len(sums) + 1} distinct"
    )
    if sums:
        engine.load(Candidate(1, amount.sigma))
        seen.check("first candidate again", checksum(engine.model) == sums[0], "by checksum", "the same")
    engine.load(None)
    same = checksum(engine.model) == base_sum and engine.weights_sha256() == base_sha256
    seen.check("base again, every bit", same, "the same" if same else "OTHER", f"sha256 {base_sha256[:12]}")
    n_same = sum(map(_equal, engine.generate(asked, sampling), base_answers))
    seen.check("base again, answers", n_same == len(asked), f"{n_same} equal", f"{len(asked)} equal")
    if sums:
        _report_speed(seen, load_s, generate_s, n_tokens, amount)


def _report_speed(seen: Seen, load_s: list[float], generate_s: list[float], n_tokens: int, amount: Amount) -> None:
    load, generate = statistics.median(load_s), statistics.median(generate_s)
    what = f"{amount.prompts} answers of {amount.max_tokens} tokens each"
    seen.note("loading a candidate", f"{load * 1e3:.1f} ms", f"first {load_s[0] * 1e3:.0f} ms")
    seen.note("answering", f"{generate:.2f} s", f"{n_tokens / sum(generate_s):.0f} tokens/s")
    seen.note("candidates a minute", f"{60 / (load + generate):.1f}", what)


def timed(device: torch.device, call: Callable[[], None]) -> float:
    """Return the seconds until what a call does on the device is done."""
    synchronize(device)
    began = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - began


def _equal(one: Any, other: Any) -> bool:
    return bool((one.text, one.n_tokens) == (other.text, other.n_tokens))


def checksum(model: torch.nn.Module) -> tuple[int, ...]:
    """Return one integer per parameter, made on the device."""
    return tuple(checksums(sorted(model.named_parameters())).values())


def _n_wrong(model: torch.nn.Module, model_path: Path, candidate: Candidate) -> tuple[int, int]:
    """Compare both ends of every live tensor with the reference, made from the checkpoint's file; return wrong, all."""
    wrong = n = 0
    with safe_open(model_path / "model.safetensors", framework="pt") as file:
        for name, parameter in model.named_parameters():
            live, stored = parameter.detach().reshape(-1), file.get_tensor(name).reshape(-1)
            for start in {0, max(0, len(stored) - _EDGE_LEN)}:
                part = slice(start, start + _EDGE_LEN)
                expected = perturbed(
                    _bits(stored[part]),
                    dtype="bfloat16",
                    seed=candidate.seed,
                    sigma=candidate.sigma,
                    name=name,
                    start=start,
                )
                wrong += int(np.count_nonzero(_bits(live[part].cpu()) != expected))
                n += len(expected)
    return wrong, n


def _bits(weights: torch.Tensor) -> np.ndarray[Any, Any]:
    return weights.contiguous().view(torch.int16).numpy().view(np.uint16)
