"""Writes a candidate's weights over the live ones on any device; the only file that picks a noise kernel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from thickets.storage.errors import InputError
from thickets.tasks.engines.compiler import NO_COMPILER, c_compiler
from thickets.tasks.engines.pinned import pinned_copy
from thickets.tasks.noise import Family
from thickets.tasks.noise.spec import Dtype, Part, Row
from thickets.tasks.types import Candidate

if TYPE_CHECKING:
    from thickets.tasks.noise.kernel import Perturber

logger = logging.getLogger(__name__)

_DTYPES: dict[torch.dtype, Dtype] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


def noise_dtype(tensor: torch.Tensor, name: str) -> Dtype:
    """Return the name that the noise contract has for a parameter's dtype.

    Raises:
        InputError: The contract does not define noise for it.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise InputError(
            f"engine.dtype: parameter {name} is {tensor.dtype}; noise is defined for {', '.join(_DTYPES.values())}"
        )
    return dtype


def copy_base(live: torch.Tensor, where: Literal["device", "host"]) -> torch.Tensor:
    """Return a flat copy of pristine weights, to be kept as long as `live` is rewritten.

    Args:
        live: A parameter of the model, of any shape.
        where: ``"device"`` keeps the copy beside it (twice the weights' memory, nothing to transfer); ``"host"`` in
            pinned host memory. Without a noise kernel for CUDA the copy of CUDA weights is in host memory either way.
    """
    flat = live.detach().reshape(-1)
    if live.device.type == "cpu" or (where == "device" and _on_device(live)):
        return flat.clone()
    return pinned_copy(flat) if live.device.type == "cuda" else flat.to("cpu", copy=True)


def noise_device(live: torch.Tensor) -> torch.device:
    """Return where noise for `live` is made: on its own device, or in host memory."""
    return live.device if _on_device(live) else torch.device("cpu")


def write_candidate(
    live: torch.Tensor,
    base: torch.Tensor,
    *,
    name: str,
    candidate: Candidate,
    family: Family,
    start: int = 0,
    row: Row | None = None,
) -> None:
    """Overwrite `live` with the candidate's weights; bit-identical on every device.

    On CUDA the work is queued on the current stream of the device of `live`.

    Args:
        live: Flat, contiguous weights ``[n]`` that the model reads, on any device.
        base: The pristine weights ``[n]`` of the same dtype, on the same device or in host memory (pinned, so that
            copying it does not hold up the host).
        name: Canonical Hugging Face parameter name.
        candidate: Seed and sigma.
        family: Distribution of the noise.
        start: Row-major index in the whole parameter of ``live[0]``.
        row: How the weights lie in the whole parameter, if not in one range.

    Raises:
        InputError: Noise is not defined for the dtype, or the tensors do not fit each other.
    """
    check_pair(live, base, name)
    on_device = _device_kernel() if _on_device(live) else None
    if on_device is None:
        _perturb_on_host(live, base.cpu(), name, candidate, family, start, row)
        return
    if base.device != live.device:
        live.copy_(base, non_blocking=True)
        base = live
    on_device(live, base, seed=candidate.seed, sigma=candidate.sigma, name=name, start=start, row=row, family=family)


def host_perturber(live: torch.Tensor, base: torch.Tensor, parts: Sequence[Part], family: Family) -> Perturber | None:
    """Return what writes candidates over weights in host memory, all parts in one call, or None for other weights.

    Raises:
        InputError: Noise is not defined for the dtype, or the tensors or parts do not fit each other.
    """
    name = ", ".join(part.name for part in parts)
    check_pair(live, base, name)
    if live.device.type != "cpu":
        return None
    from thickets.tasks.noise.kernel import Perturber  # Numba, as below

    return Perturber(_bits(live), _bits(base), dtype=noise_dtype(live, name), parts=parts, family=family)


def _perturb_on_host(
    live: torch.Tensor,
    base: torch.Tensor,
    name: str,
    candidate: Candidate,
    family: Family,
    start: int,
    row: Row | None,
) -> None:
    from thickets.tasks.noise.kernel import perturb_into  # Numba, which a GPU with Triton does not need

    in_place = live.device.type == "cpu"
    target = live if in_place else torch.empty_like(base)
    perturb_into(
        _bits(target),
        _bits(base),
        dtype=noise_dtype(live, name),
        seed=candidate.seed,
        sigma=candidate.sigma,
        name=name,
        start=start,
        row=row,
        family=family,
    )
    if not in_place:
        live.copy_(target)


def _on_device(live: torch.Tensor) -> bool:
    """Return whether noise for `live` is made on its CUDA device."""
    return live.device.type == "cuda" and _device_kernel() is not None


@lru_cache(maxsize=1)
def _device_kernel() -> Callable[..., None] | None:
    """Return the CUDA kernel, or None (and one warning) where Triton is not installed or has no compiler."""
    if c_compiler() is None:
        logger.warning("%s; noise is made on the host and copied to the device", NO_COMPILER)
        return None
    try:
        from thickets.tasks.noise.triton_kernel import perturb_cuda
    except ImportError as error:
        logger.warning("Triton cannot be imported (%s): noise is made on the host and copied to the device", error)
        return None
    return perturb_cuda


def check_pair(live: torch.Tensor, base: torch.Tensor, name: str) -> None:
    """Refuse weights and a base that do not fit each other, or a dtype that noise is not defined for.

    Raises:
        InputError: Says which parameter and why.
    """
    noise_dtype(live, name)
    if live.ndim != 1 or base.ndim != 1 or live.shape != base.shape or live.dtype != base.dtype:
        raise InputError(
            f"parameter {name}: live weights are {live.dtype} {list(live.shape)} and their base is {base.dtype} "
            f"{list(base.shape)}; both must be flat and alike"
        )
    if base.device.type != "cpu" and base.device != live.device:
        raise InputError(
            f"parameter {name}: live weights are on {live.device} and their base on {base.device}; "
            "the base must be there too, or in host memory"
        )


def _bits(flat: torch.Tensor) -> np.ndarray[Any, Any]:
    """View a tensor's memory in NumPy: float32, or the bits of a 16-bit float as uint16."""
    if flat.dtype == torch.float32:
        return flat.numpy()
    return flat.view(torch.int16).numpy().view(np.uint16)
