"""Applies the noise contract on every CPU core: base to perturbed weights, in the model dtype, in one pass.

Bit-identical to `thickets.tasks.noise.reference`, at a few times the cost of copying the weights.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Final

import numba as nb
import numpy as np
from numpy.typing import NDArray

from thickets.storage.errors import InputError
from thickets.tasks.noise.compiled import BFLOAT16, CHUNK_LEN, FLOAT16, FLOAT32, perturb_chunks
from thickets.tasks.noise.spec import (
    BLOCK_LEN,
    Dtype,
    Family,
    Part,
    Row,
    check_family,
    check_rows,
    check_sigma,
    quantile_table,
    scaled_sigma,
    seed_key,
    tensor_key,
)

_CODES: Final[dict[Dtype, int]] = {"float32": FLOAT32, "bfloat16": BFLOAT16, "float16": FLOAT16}

# Up to this many weights (60 microseconds of work), waking another thread costs as much as it saves.
_SERIAL_LEN: Final = 1 << 16


def perturb_into(
    out: NDArray[Any],
    base: NDArray[Any],
    *,
    dtype: Dtype,
    seed: int,
    sigma: float,
    name: str,
    start: int = 0,
    row: Row | None = None,
    family: Family = "gaussian",
) -> None:
    """Write ``cast(fl32(float32(base) + fl32(float32(sigma) * noise)))`` into ``out``.

    May be called from several threads at once. Every NaN result is the quiet NaN of `spec.QUIET_NAN_BITS`.

    Args:
        out: Receives the perturbed weights, ``[n]``: float32, or uint16 bit patterns of bfloat16 or float16.
            May be ``base`` itself (one way: the base cannot be recovered from it); any other overlap is refused.
        base: The pristine weights ``[n]``, in the same storage; read-only memory will do.
        dtype: Model dtype of both.
        seed: Unsigned 64-bit seed of the candidate.
        sigma: Standard deviation of the perturbation, in units of the weights; used as a float32.
        name: Canonical Hugging Face parameter name.
        start: Row-major index in the unsharded, unfused tensor of ``base[0]``.
        row: How the weights lie in that tensor, if not in one range: whole rows, one after the other.
        family: Distribution of the noise.

    Raises:
        InputError: If an argument is out of range or an array is not what ``dtype`` needs.
    """
    Perturber(out, base, dtype=dtype, parts=[Part(0, len(base), name, start, row)], family=family).write(seed, sigma)


class Perturber:
    """Writes candidates over the same memory again and again; what does not depend on the candidate is checked once."""

    def __init__(
        self, out: NDArray[Any], base: NDArray[Any], *, dtype: Dtype, parts: Sequence[Part], family: Family
    ) -> None:
        """Check the arrays and where their weights lie.

        Args:
            out: As in `perturb_into`.
            base: As in `perturb_into`.
            dtype: As in `perturb_into`.
            parts: What gets the noise of which tensor, in the order of `out`; the rest becomes a copy of the base.
            family: Distribution of the noise.

        Raises:
            InputError: If an argument is out of range, parts overlap, or an array is not what ``dtype`` needs.
        """
        _check_arrays(out, base, dtype)
        check_family(family)
        # A read-only view gives Numba one array type, hence one compiled kernel, whether the caller's is writable.
        base = base.view()
        base.flags.writeable = False
        arrays = (out, base, *_unused("uint16")) if dtype == "float32" else (*_unused("float32"), out, base)
        self._count, self._block_len = len(base), BLOCK_LEN[family]
        self._factors = tuple(dict.fromkeys(part.factor for part in parts)) or (1.0,)
        self._arguments = arrays, _CODES[dtype], _places(parts, len(base), self._factors)

    def write(self, seed: int, sigma: float) -> None:
        """Write one candidate; see `perturb_into`. A part with a factor has its own sigma, see `scaled_sigma`.

        Raises:
            InputError: The seed or sigma, or sigma times a factor, is out of range.
        """
        check_sigma(sigma)
        scales = tuple(check_sigma(scaled_sigma(sigma, factor)) for factor in self._factors)
        lo, hi = seed_key(seed)
        draw = self._block_len, *_scaled_tables(scales), (np.uint64(lo), np.uint64(hi))
        _run(self._count, (*self._arguments, draw))


def _places(
    parts: Sequence[Part], count: int, factors: Sequence[float]
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the places and keys of `perturb_chunks`, gaps between the parts included."""
    rows: list[tuple[int, int, int, int, int, int]] = []
    keys: list[tuple[int, int]] = []
    end = 0
    for part in (*parts, None):
        at = count if part is None else part.at
        if at > end:
            rows.append((end, at, -1, 1, 1, 0))
            keys.append((0, 0))
        if part is None:
            break
        start, (row_len, row_stride) = check_rows(part.start, part.size, part.row)
        if not end <= at <= at + part.size <= count:
            raise InputError(
                f"parts: {part.name} takes {part.size} weights from {at} on of {count}, the first {end} of which are "
                "taken; parts must follow one another"
            )
        end = at + part.size
        rows.append((at, end, start, row_len, row_stride, factors.index(part.factor)))
        keys.append(tensor_key(part.name))
    return np.array(rows, np.int64).reshape(-1, 6), np.array(keys, np.uint64).reshape(-1, 2)


def _run(count: int, arguments: tuple[Any, ...]) -> None:
    """Run the kernel on the calling thread, with as many helpers as there are cores and chunks for.

    Not Numba's own ``prange``, for three reasons. Its barrier waits for every thread, even one that has done nothing
    yet: on a core that another process holds, a 0.3 ms tensor took 5 to 10 ms. Its fallback layer ("workqueue")
    aborts the process when two Python threads use it at once. Its OpenMP layer aborts in a forked child. Here a
    helper that comes late finds nothing to do, and the caller does not wait for it.
    """
    counter = np.zeros(1, np.int64)
    n_helpers = 0 if count <= _SERIAL_LEN else min(nb.config.NUMBA_NUM_THREADS - 1, count // CHUNK_LEN)
    helpers = [_pool().submit(perturb_chunks, counter, *arguments) for _ in range(n_helpers)]
    perturb_chunks(counter, *arguments)
    # One that cannot be cancelled has started, so it may still hold a chunk.
    for helper in [helper for helper in helpers if not helper.cancel()]:
        helper.result()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """Make the threads that help callers of `perturb_into`; ``NUMBA_NUM_THREADS`` bounds them, as in any Numba code."""
    return ThreadPoolExecutor(max(1, nb.config.NUMBA_NUM_THREADS - 1), thread_name_prefix="perturb")


if hasattr(os, "register_at_fork"):
    # Threads do not survive a fork; the child makes its own.
    os.register_at_fork(after_in_child=_pool.cache_clear)


@lru_cache(maxsize=16)
def _scaled_tables(sigmas: tuple[np.float32, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute ``fl32(sigma * Q)`` for each sigma, the first of the two roundings, once per quantile, not per weight.

    With the product in a table there is nothing left that a compiler could contract into a fused multiply-add.

    Returns:
        The tables, float32 ``[n_sigmas, 65536]``, and the sigmas as an array; both read-only.
    """
    scales = np.array(sigmas, np.float32)
    with np.errstate(over="ignore", under="ignore"):
        tables = quantile_table()[None, :] * scales[:, None]
    tables.flags.writeable = scales.flags.writeable = False
    return tables, scales


@lru_cache(maxsize=2)
def _unused(storage: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make an empty ``(out, base)`` for the argument pair that a dtype does not use."""
    base = np.empty(0, storage)
    base.flags.writeable = False
    return np.empty(0, storage), base


def _check_arrays(out: NDArray[Any], base: NDArray[Any], dtype: Dtype) -> None:
    if dtype not in _CODES:
        raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(_CODES)}")
    storage = "float32" if dtype == "float32" else "uint16"
    for label, array in (("out", out), ("base", base)):
        if not isinstance(array, np.ndarray):
            raise InputError(f"{label} is a {type(array).__name__}; it must be a NumPy array")
        if array.dtype != storage:
            raise InputError(f"{label} holds {array.dtype}; {dtype} weights must be given as {storage}")
        if array.ndim != 1 or not array.flags.c_contiguous or not array.flags.aligned:
            raise InputError(f"{label} has shape {array.shape}; it must be flat, contiguous and aligned")
    if len(out) != len(base):
        raise InputError(f"out has {len(out)} elements and base has {len(base)}; they must have the same length")
    if not out.flags.writeable:
        raise InputError("out is read-only; give it writable memory")
    if out.ctypes.data != base.ctypes.data and np.may_share_memory(out, base):
        raise InputError("out overlaps base in part; they must be the same memory or disjoint")
