"""Implements the noise contract in plain NumPy: slow, short, the oracle that every faster kernel is tested against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thickets.storage.errors import InputError
from thickets.tasks.noise.spec import (
    BLOCK_LEN,
    PHILOX_M0,
    PHILOX_M1,
    PHILOX_ROUNDS,
    PHILOX_W0,
    PHILOX_W1,
    QUIET_NAN_BITS,
    Dtype,
    Family,
    check_family,
    check_range,
    check_sigma,
    quantile_table,
    seed_key,
    tensor_key,
)

# Bounds the temporaries of `noise` (about 20 bytes an element) for a tensor of any size.
_PIECE_LEN = 1 << 20
_LOW32 = np.uint64(0xFFFFFFFF)
_SHIFT32 = np.uint64(32)


def philox4x32(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Compute Philox4x32-10 of many counters under one key.

    Args:
        counter: uint32 ``[n_blocks, 4]``.
        key: Two 32-bit words.

    Returns:
        uint32 ``[n_blocks, 4]``: four random words for each counter.
    """
    c0, c1, c2, c3 = (counter[:, word].astype(np.uint64) for word in range(4))
    for i in range(PHILOX_ROUNDS):
        k0 = np.uint64((key[0] + i * PHILOX_W0) & 0xFFFFFFFF)
        k1 = np.uint64((key[1] + i * PHILOX_W1) & 0xFFFFFFFF)
        p0, p1 = c0 * np.uint64(PHILOX_M0), c2 * np.uint64(PHILOX_M1)
        c0, c1, c2, c3 = (p1 >> _SHIFT32) ^ c1 ^ k0, p1 & _LOW32, (p0 >> _SHIFT32) ^ c3 ^ k1, p0 & _LOW32
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def noise(seed: int, name: str, start: int, count: int, family: Family = "gaussian") -> NDArray[np.float32]:
    """Return elements ``start .. start + count`` of the unit-variance noise of one parameter.

    A pure function: any slice, made anywhere, holds the same bits as that slice of the whole.

    Args:
        seed: Unsigned 64-bit seed of the candidate.
        name: Canonical Hugging Face parameter name.
        start: First element, a row-major index into the unsharded, unfused tensor.
        count: Number of elements.
        family: ``"gaussian"`` (a table of 65536 quantiles) or ``"rademacher"`` (+1 or -1).

    Returns:
        float32 ``[count]``.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> from thickets import noise
        >>> whole = noise(7, "model.norm.weight", 0, 1000)
        >>> bool((noise(7, "model.norm.weight", 990, 10) == whole[990:]).all())
        True
    """
    key, (t_lo, t_hi) = seed_key(seed), tensor_key(name)
    check_family(family)
    start, count = check_range(start, count)
    out = np.empty(count, dtype=np.float32)
    block_len = BLOCK_LEN[family]
    for offset in range(0, count, _PIECE_LEN):
        piece = out[offset : offset + _PIECE_LEN]
        first, last = start + offset, start + offset + len(piece) - 1
        blocks = np.arange(first // block_len, last // block_len + 1, dtype=np.uint64)
        counter = np.empty((len(blocks), 4), dtype=np.uint32)
        counter[:, 0], counter[:, 1] = blocks & _LOW32, blocks >> _SHIFT32
        counter[:, 2], counter[:, 3] = t_lo, t_hi
        words = philox4x32(counter, key)
        skip = first % block_len
        piece[:] = _words_to_noise(words, family)[skip : skip + len(piece)]
    return out


def perturbed(
    base: NDArray[Any], *, dtype: Dtype, seed: int, sigma: float, name: str, start: int = 0, family: Family = "gaussian"
) -> NDArray[Any]:
    """Return ``cast(fl32(float32(base) + fl32(float32(sigma) * noise)))``: two roundings, then the cast.

    Args:
        base: Weights ``[n]``: float32, or uint16 bit patterns of bfloat16 or float16.
        dtype: The model dtype that ``base`` holds, and the result will hold.
        seed: Unsigned 64-bit seed of the candidate.
        sigma: Standard deviation of the perturbation, in units of the weights.
        name: Canonical Hugging Face parameter name.
        start: Index in the whole tensor of ``base[0]``.
        family: Distribution of the noise.

    Returns:
        ``[n]`` of the type of ``base``. NaN weights become ``QUIET_NAN_BITS``; overflow becomes infinity.

    Raises:
        InputError: If an argument is out of range or ``base`` is not of the storage type of ``dtype``.
    """
    if dtype not in QUIET_NAN_BITS:
        raise InputError(f"dtype is {dtype!r}; it must be one of {', '.join(QUIET_NAN_BITS)}")
    storage = np.dtype(np.float32 if dtype == "float32" else np.uint16)
    if base.dtype != storage or base.ndim != 1:
        raise InputError(f"base is {base.dtype} of {base.ndim} dimensions; {dtype} weights must be flat {storage}")
    rounded_sigma = check_sigma(sigma)
    z = noise(seed, name, start, len(base), family)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return from_float32(to_float32(base, dtype) + rounded_sigma * z, dtype)


def to_float32(weights: NDArray[Any], dtype: Dtype) -> NDArray[np.float32]:
    """Widen stored weights ``[n]`` to float32 ``[n]``; exact for every finite value and infinity."""
    if dtype == "float32":
        return weights
    if dtype == "bfloat16":
        return (weights.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return weights.view(np.float16).astype(np.float32)


def from_float32(values: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    """Round float32 ``[n]`` to the model dtype, ties to even, in its storage type (uint16 bits for the 16-bit ones)."""
    nan = np.isnan(values)
    bits = values.view(np.uint32)
    if dtype == "float32":
        return np.where(nan, np.uint32(QUIET_NAN_BITS[dtype]), bits).view(np.float32)
    if dtype == "bfloat16":
        # Adding just under half of the last kept bit, plus that bit, carries exactly when RNE rounds up;
        # a carry out of the largest finite value lands on infinity. NaNs may overflow and are replaced below.
        cast = ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(
            np.uint16
        )
    else:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            cast = values.astype(np.float16).view(np.uint16)
    return np.where(nan, np.uint16(QUIET_NAN_BITS[dtype]), cast)


def _words_to_noise(words: NDArray[np.uint32], family: Family) -> NDArray[np.float32]:
    """Turn Philox words ``[n_blocks, 4]`` into noise ``[n_blocks * block length]``, low bits first."""
    if family == "gaussian":
        halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=2)
        return quantile_table()[halves.reshape(-1)]
    bits = (words.reshape(-1, 1) >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
    return bits.reshape(-1).astype(np.float32) * np.float32(2) - np.float32(1)
