"""Applies the noise contract on a GPU: base to perturbed weights, in the model dtype, in one pass.

Bit-identical to `noise.reference`. Needs Triton, which is not installed everywhere, so nothing imports this
module but the callers that have a GPU. With ``TRITON_INTERPRET=1`` set before the import, the same kernel runs on
tensors in host memory, slowly, which is how it is tested where there is no GPU.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
import triton
import triton.language as tl

from thickets.storage.errors import InputError
from thickets.tasks.noise.spec import (
    BLOCK_LEN,
    PHILOX_M0,
    PHILOX_M1,
    PHILOX_ROUNDS,
    PHILOX_W0,
    PHILOX_W1,
    QUIET_NAN_BITS,
    TABLE_LEN,
    Dtype,
    Family,
    Row,
    check_family,
    check_rows,
    check_sigma,
    quantile_table,
    seed_key,
    tensor_key,
)

_DTYPES: Final[dict[torch.dtype, tuple[Dtype, torch.dtype]]] = {
    torch.float32: ("float32", torch.int32),
    torch.bfloat16: ("bfloat16", torch.int16),
    torch.float16: ("float16", torch.int16),
}

# Weights per program: with 128 threads, two Philox blocks and two 16-byte loads of 16-bit weights for each thread.
TILE_LEN: Final = 2048
_N_WARPS: Final = 4

_M0, _M1 = tl.constexpr(PHILOX_M0), tl.constexpr(PHILOX_M1)
_W0, _W1 = tl.constexpr(PHILOX_W0), tl.constexpr(PHILOX_W1)
_ROUNDS = tl.constexpr(PHILOX_ROUNDS)
_ENTRY_MASK = tl.constexpr(TABLE_LEN // 2 - 1)


def perturb_cuda(
    out: torch.Tensor,
    base: torch.Tensor,
    *,
    seed: int,
    sigma: float,
    name: str,
    start: int = 0,
    row: Row | None = None,
    family: Family = "gaussian",
) -> None:
    """Queue ``out = cast(fl32(float32(base) + fl32(float32(sigma) * noise)))`` on the device's current stream.

    Every NaN result is the quiet NaN of `spec.QUIET_NAN_BITS`.

    Args:
        out: Where the perturbed weights go, ``[n]``: float32, bfloat16 or float16. May be ``base`` itself (one way:
            the base cannot be recovered from it); any other overlap is refused.
        base: The pristine weights ``[n]``, of the same dtype and on the same device; host memory will not do, not even
            pinned: copy it into ``out`` and perturb that in place.
        seed: Unsigned 64-bit seed of the candidate.
        sigma: Standard deviation of the perturbation, in units of the weights; used as a float32.
        name: Canonical Hugging Face parameter name.
        start: Row-major index in the unsharded, unfused tensor of ``base[0]``.
        row: How the weights lie in that tensor, if not in one range: whole rows, one after the other.
        family: Distribution of the noise.

    Raises:
        InputError: If an argument is out of range or a tensor is not of the kind described.
    """
    _check_tensors(out, base)
    check_family(family)
    start, row = check_rows(start, base.numel(), row)
    scale = check_sigma(sigma)
    key = [_as_int32(word) for word in (*tensor_key(name), *seed_key(seed))]
    if base.numel() == 0:
        return
    dtype, storage = _DTYPES[base.dtype]
    block_len, n_rows = BLOCK_LEN[family], base.numel() // row.length
    # Rows that begin alike in a block are one launch, as all do whose stride is a multiple of a block's length.
    per_launch = n_rows if row.stride % block_len == 0 else 1
    magnitudes = _magnitudes(out.device, scale, family)
    with torch.cuda.device_of(out):
        for first_row in range(0, n_rows, per_launch):
            first_block, skip = divmod(start + first_row * row.stride, block_len)
            n_tiles = triton.cdiv(skip + row.length, TILE_LEN)
            here = slice(first_row * row.length, (first_row + per_launch) * row.length)
            _perturb_tile[(n_tiles * per_launch,)](
                out[here].view(storage),
                base[here].view(storage),
                magnitudes,
                row.length,
                first_block,
                skip,
                n_tiles,
                row.stride // block_len,
                *key,
                FAMILY=family,
                BLOCK=block_len,
                DTYPE=dtype,
                NAN=QUIET_NAN_BITS[dtype],
                TILE=TILE_LEN,
                ROWS=per_launch > 1,
                num_warps=_N_WARPS,
                enable_fp_fusion=False,
            )
        if magnitudes.is_cuda:
            # The cache may drop the table while a stream other than the one it was made on still reads it.
            magnitudes.record_stream(torch.cuda.current_stream())


@triton.jit(do_not_specialize=["first_block", "n_tiles", "row_blocks", "tensor_lo", "tensor_hi", "seed_lo", "seed_hi"])
def _perturb_tile(  # type: ignore[no-untyped-def]
    out,
    base,
    magnitudes,
    n,
    first_block,
    skip,
    n_tiles,
    row_blocks,
    tensor_lo,
    tensor_hi,
    seed_lo,
    seed_hi,
    FAMILY: tl.constexpr,
    BLOCK: tl.constexpr,
    DTYPE: tl.constexpr,
    NAN: tl.constexpr,
    TILE: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Perturb the weights of ``TILE // BLOCK`` whole Philox blocks, except those before or beyond their row.

    Weights travel as integers (int32 or int16), so that what happens to a NaN is said here and not left to a cast.

    Args:
        out: Bit patterns ``[n]``; may be ``base``, because every weight is read and written by one program.
        base: Bit patterns ``[n]``.
        magnitudes: int32 bit patterns of the perturbation without its sign: see `_magnitudes`.
        n: Number of weights in a row.
        first_block: Philox block of the first weight.
        skip: Weights of that block before the first one; the same for every row.
        n_tiles: Programs per row.
        row_blocks: Philox blocks from one row to the next.
        tensor_lo: Low word of the tensor's key, as int32; likewise the next three.
        tensor_hi: High word of it.
        seed_lo: Low word of the seed.
        seed_hi: High word of it.
        FAMILY: Distribution of the noise.
        BLOCK: Weights made from one Philox block.
        DTYPE: Model dtype.
        NAN: Bit pattern for every NaN.
        TILE: Weights per program.
        ROWS: Whether there is more than one row.
    """
    tile = tl.program_id(0).to(tl.int64)
    if ROWS:
        row = tile // n_tiles
        tile -= row * n_tiles
        first_block += row * row_blocks
        out += row * n
        base += row * n
    index = tile * TILE - skip + tl.arange(0, TILE)
    inside = (index >= 0) & (index < n)
    # Weights are read once: past the L1 cache, which is to hold the table.
    weight = tl.load(base + index, mask=inside, cache_modifier=".cg")

    N_BLOCKS: tl.constexpr = TILE // BLOCK
    block = first_block + tile * N_BLOCKS + tl.arange(0, N_BLOCKS)
    words = _philox(block, tensor_lo, tensor_hi, seed_lo, seed_hi)
    if FAMILY == "gaussian":
        halves = tl.reshape(tl.join(words & 0xFFFF, words >> 16), [TILE])
        negative = (halves >> 15) - 1  # all bits where the quantile is below zero, for Q[k] == -Q[65535 - k]
        magnitude = tl.load(magnitudes + ((halves ^ negative) & _ENTRY_MASK), eviction_policy="evict_last")
    else:
        bits = tl.reshape(words, [TILE // 32, 1]) >> tl.arange(0, 32)[None, :]
        negative = (tl.reshape(bits, [TILE]) & 1) - 1
        magnitude = tl.load(magnitudes)
    change = magnitude.to(tl.uint32) | (negative & 0x80000000)
    # The product was rounded when the table was made: nothing is left that could become a fused multiply-add.
    value = _widen(weight, DTYPE) + change.to(tl.float32, bitcast=True)
    tl.store(out + index, _narrow(value, DTYPE, NAN), mask=inside)


@triton.jit
def _philox(block, tensor_lo, tensor_hi, seed_lo, seed_hi):  # type: ignore[no-untyped-def]
    """Compute Philox4x32-10 of blocks ``[n]``: uint32 ``[n, 2, 2]``, each block's four words in row-major order."""
    c0, c1 = block.to(tl.uint32), (block >> 32).to(tl.uint32)
    c2, c3 = tensor_lo.to(tl.uint32) + c0 * 0, tensor_hi.to(tl.uint32) + c0 * 0
    key0, key1 = seed_lo.to(tl.uint32), seed_hi.to(tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        hi0, lo0, hi1, lo1 = tl.umulhi(c0, _M0), c0 * _M0, tl.umulhi(c2, _M1), c2 * _M1
        c0, c1, c2, c3 = hi1 ^ c1 ^ key0, lo1, hi0 ^ c3 ^ key1, lo0
        key0, key1 = key0 + _W0, key1 + _W1
    # Each join adds a last axis, so the outer one tells neighbours apart: [..., 0, :] is c0, c1.
    return tl.join(tl.join(c0, c2), tl.join(c1, c3))


@triton.jit
def _widen(weight, DTYPE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Widen bit patterns of the model dtype to float32; exact for every finite value and infinity."""
    # One return for all branches: the compiler of Triton goes on past an early one, the interpreter does not.
    if DTYPE == "float32":
        value = weight.to(tl.float32, bitcast=True)
    elif DTYPE == "bfloat16":
        value = (weight.to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    else:
        value = weight.to(tl.float16, bitcast=True).to(tl.float32)
    return value


@triton.jit
def _narrow(value, DTYPE: tl.constexpr, NAN: tl.constexpr):  # type: ignore[no-untyped-def]
    """Round float32 to bit patterns of the model dtype: ties to even, overflow to infinity, one NaN."""
    if DTYPE == "float32":
        cast = value.to(tl.int32, bitcast=True)
    elif DTYPE == "bfloat16":
        # As in the reference, not the hardware's cast: Triton's interpreter rounds that one otherwise.
        bits = value.to(tl.uint32, bitcast=True)
        cast = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).to(tl.int16)
    else:
        cast = value.to(tl.float16).to(tl.int16, bitcast=True)
    return tl.where(value == value, cast, NAN)  # noqa: PLR0124 - false for a NaN alone


@lru_cache(maxsize=16)
def _magnitudes(device: torch.device, sigma: np.float32, family: Family) -> torch.Tensor:
    """Make the table of magnitudes that may be added to a weight, as int32 bit patterns on `device`.

    For Gaussian noise ``fl32(sigma * Q[32768:])``; the other half of the table is its mirror image, and the product
    rounds alike on both sides of zero. This half (128 KB) fits in the L1 cache of current GPUs, the whole does not,
    and one lookup per weight is most of the kernel's traffic. For Rademacher noise sigma alone.
    """
    with np.errstate(over="ignore", under="ignore"):
        table = quantile_table()[TABLE_LEN // 2 :] * sigma if family == "gaussian" else np.array([sigma])
    return torch.from_numpy(table.view(np.int32)).to(device)


def _as_int32(word: int) -> int:
    """Return the signed integer with a 32-bit word's bits: Triton compiles anew for every width of integer."""
    return word - (word >> 31 << 32)


def _check_tensors(out: Any, base: Any) -> None:
    for label, tensor in (("out", out), ("base", base)):
        if not isinstance(tensor, torch.Tensor):
            raise InputError(f"{label} is a {type(tensor).__name__}; it must be a PyTorch tensor")
        if tensor.dtype not in _DTYPES:
            known = ", ".join(dtype for dtype, _ in _DTYPES.values())
            raise InputError(f"{label} holds {tensor.dtype}; noise is defined for {known}")
        if tensor.ndim != 1 or not tensor.is_contiguous():
            raise InputError(f"{label} has shape {list(tensor.shape)}; it must be flat and contiguous")
        if tensor.device.type != "cuda" and not triton.knobs.runtime.interpret:
            raise InputError(f"{label} is on {tensor.device}; it must be on a CUDA device")
    if out.dtype != base.dtype:
        raise InputError(f"out holds {out.dtype} and base {base.dtype}; they must have the same dtype")
    if out.device != base.device:
        raise InputError(f"out is on {out.device} and base on {base.device}; they must be on the same device")
    if len(out) != len(base):
        raise InputError(f"out has {len(out)} elements and base has {len(base)}; they must have the same length")
    distance_bytes = abs(out.data_ptr() - base.data_ptr())
    if 0 < distance_bytes < out.numel() * out.element_size():
        raise InputError("out overlaps base in part; they must be the same memory or disjoint")
