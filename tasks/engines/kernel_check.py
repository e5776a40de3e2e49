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


def kernel_faults(device: torch.device, dtypes: Iterable[torch.dtype], family: Family) -> list[str]:
    """Perturb one tensor of each type as candidates are perturbed on a device, and compare bits with the reference.

    Returns:
        A sentence for each type whose bits differ.
    """
    generator = torch.Generator().manual_seed(0)
    faults = []
    for dtype in dtypes:
        base = torch.randn(_LEN, generator=generator).to(dtype)
        live = torch.empty_like(base, device=device)
        name = noise_dtype(base, "of the self-test")
        write_candidate(live, base.to(device), name="self-test", candidate=_CANDIDATE, family=family, start=_START)
        seed, sigma = _CANDIDATE.seed, _CANDIDATE.sigma
        want = perturbed(_bits(base), dtype=name, seed=seed, sigma=sigma, name="self-test", start=_START, family=family)
        found = _bits(live.cpu())
        word = f"u{found.itemsize}"  # bits: NaN equals itself
        if n_differ := int(np.count_nonzero(found.view(word) != want.view(word))):
            faults.append(f"noise made on {device} in {name} is not the reference's ({n_differ} of {_LEN} weights)")
    return faults


def _bits(flat: torch.Tensor) -> np.ndarray[Any, Any]:
    """Return float32 as it is, and a 16-bit float as uint16: how the reference takes them."""
    return flat.numpy() if flat.dtype == torch.float32 else flat.view(torch.int16).numpy().view(np.uint16)
