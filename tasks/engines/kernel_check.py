"""Checks the noise that a device makes against the reference, which is plain NumPy on the host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from thickets.tasks.engines.candidate_weights import noise_dtype, write_candidate
from thickets.tasks.noise import Family
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.types import Candidate

_LEN = 1 << 16  # weights: every 16-bit value of the noise's table comes up about once
_START = 3  # not where a block of the noise begins
_CANDIDATE = Candidate(seed=2**63 + 11, sigma=0.01)
_NAME = "model.layers.0.mlp.down_proj.weight"


def kernel_faults(device: torch.device, dtypes: Iterable[torch.dtype], family: Family) -> list[str]:
    """Perturb one tensor of each type as candidates are perturbed on a device, and compare bits with the reference.

    Returns:
        A sentence for each type whose bits differ.
    """
    faults = []
    for dtype in dtypes:
        if n_differ := n_wrong(device, dtype, family, _START, _LEN):
            name = str(dtype).removeprefix("torch.")
            faults.append(f"noise made on {device} in {name} is not the reference's ({n_differ} of {_LEN} weights)")
    return faults


def n_wrong(device: torch.device, dtype: torch.dtype, family: Family, start: int, count: int) -> int:
    """Count the weights that a candidate gets otherwise on a device than from the reference, bit by bit.

    Args:
        device: Where the weights are.
        dtype: Their type.
        family: Distribution of the noise.
        start: Row-major index of the first one in its tensor.
        count: Number of weights; infinite ones and one that is no number are among them.
    """
    base = torch.randn(count, generator=torch.Generator().manual_seed(start % 1000)).to(dtype)
    base[:4] = torch.tensor([float("inf"), float("-inf"), float("nan"), 0.0])
    live = torch.zeros(count, dtype=dtype, device=device)
    write_candidate(live, base.to(device), name=_NAME, candidate=_CANDIDATE, family=family, start=start)
    want = perturbed(
        _bits(base),
        dtype=noise_dtype(base, _NAME),
        seed=_CANDIDATE.seed,
        sigma=_CANDIDATE.sigma,
        name=_NAME,
        start=start,
        family=family,
    )
    found = _bits(live.cpu())
    word = f"u{found.itemsize}"  # bits: NaN equals itself
    return int(np.count_nonzero(found.view(word) != want.view(word)))


def _bits(flat: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return float32 as it is, and a 16-bit float as uint16: how the reference takes them."""
    return flat.numpy() if flat.dtype == torch.float32 else flat.view(torch.int16).numpy().view(np.uint16)
