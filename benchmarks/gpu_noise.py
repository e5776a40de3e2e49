"""Noise on the device: the bits of the engine's kernel against the reference, and its speed against a plain copy."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.gpu_seen import Seen
from thickets.tasks.engines.candidate_weights import noise_device, write_candidate
from thickets.tasks.engines.kernel_check import n_wrong
from thickets.tasks.noise import Family
from thickets.tasks.types import Candidate

_CANDIDATE = Candidate(seed=0x0123456789ABCDEF, sigma=1e-3)
_NAME = "model.layers.0.mlp.down_proj.weight"
_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_FAMILIES: tuple[Family, ...] = ("gaussian", "rademacher")
# A tensor's beginning, the inside of a Philox block, and beyond what 32 bits count.
_STARTS = (0, 77, (1 << 33) + 5)
_CALLS = 10


def look(seen: Seen, device: torch.device, *, n_checked: int, n_timed: int) -> None:
    """Compare bits, then measure.

    Args:
        seen: Takes the rows.
        device: Where the weights are.
        n_checked: Weights compared for every type, family and offset.
        n_timed: Weights, of two bytes each, of the tensor that is measured.
    """
    sample = torch.empty(1, device=device)
    made_on = noise_device(sample)
    seen.check("where noise is made", made_on == sample.device, str(made_on), str(sample.device))
    for dtype, family in itertools.product(_DTYPES, _FAMILIES):
        wrong = sum(n_wrong(device, dtype, family, start, n_checked) for start in _STARTS)
        n = n_checked * len(_STARTS)
        what = f"bits that differ: {str(dtype).removeprefix('torch.')}, {family}"
        seen.check(what, wrong == 0, f"{wrong} of {n} weights", "0")
    _measure(seen, device, n_timed)


def _measure(seen: Seen, device: torch.device, count: int) -> None:
    base = torch.full((count,), 0.05, dtype=torch.bfloat16, device=device)
    live = torch.empty_like(base)
    moved_bytes = 2 * base.numel() * base.element_size()  # each weight is read once and written once

    def copy() -> None:
        live.copy_(base)

    copy_s = seconds_each(copy, device)
    seen.note("copy within the device", f"{moved_bytes / copy_s / 1e9:.0f} GB/s", f"{moved_bytes / 1e9:.2f} GB moved")
    for family in _FAMILIES:

        def noise(family: Family = family) -> None:
            write_candidate(live, base, name=_NAME, candidate=_CANDIDATE, family=family)

        noise_s = seconds_each(noise, device)
        rate = f"{moved_bytes / noise_s / 1e9:.0f} GB/s, {copy_s / noise_s:.0%} of the copy"
        seen.note(f"noise, {family}", rate, f"{count / noise_s / 1e9:.2f} G weights/s")


def seconds_each(call: Callable[[], None], device: torch.device) -> float:
    """Return the median over three rounds of the seconds that one of several calls in a row takes."""
    call()  # compiles, and touches all memory
    times = []
    for _ in range(3):
        synchronize(device)
        began = time.perf_counter()
        for _ in range(_CALLS):
            call()
        synchronize(device)
        times.append((time.perf_counter() - began) / _CALLS)
    return statistics.median(times)


def synchronize(device: torch.device) -> None:
    """Wait for what is queued on a device; the CPU queues nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
