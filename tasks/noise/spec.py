"""The noise contract in scalars: version, quantile table, keys, and the checks every kernel shares.

Source: docs/design.md#noise. Anything here that changes a single bit of noise needs a new ``NOISE_VERSION``.
"""

from __future__ import annotations

import hashlib
import math
import operator
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from thickets.storage.errors import InputError, RunError

NOISE_VERSION: Final = 1

Family = Literal["gaussian", "rademacher"]
Dtype = Literal["float32", "bfloat16", "float16"]

# Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; Random123 1.14).
PHILOX_M0: Final = 0xD2511F53
PHILOX_M1: Final = 0xCD9E8D57
PHILOX_W0: Final = 0x9E3779B9
PHILOX_W1: Final = 0xBB67AE85
PHILOX_ROUNDS: Final = 10

# Weights made from one block of four 32-bit words: eight 16-bit table indices, or 128 sign bits.
BLOCK_LEN: Final[dict[Family, int]] = {"gaussian": 8, "rademacher": 128}

TABLE_LEN: Final = 1 << 16
TABLE_SHA256: Final = "8babbcaf96568f10165a1eab530c0e5c92d04de96761b6dbb3dadfa94baba37f"

# A NaN weight becomes this one quiet NaN: x86, Arm and CUDA propagate sign and payload differently.
QUIET_NAN_BITS: Final[dict[Dtype, int]] = {"float32": 0x7FC00000, "bfloat16": 0x7FC0, "float16": 0x7E00}

# Kernels keep element indices, rounded up to a whole chunk of work, in signed 64-bit integers.
MAX_INDEX: Final = 1 << 62


@lru_cache(maxsize=1)
def quantile_table() -> NDArray[np.float32]:
    """Return ``Q``: the standard normal at 65536 equally likely points, scaled to unit variance.

    Returns:
        Read-only float32 ``[65536]``, increasing; ``Q[k] == -Q[65535 - k]`` and ``max == 4.3249631``.

    Raises:
        RunError: If this platform's ``inv_cdf`` does not give the table of the contract, bit for bit.
    """
    inv_cdf = NormalDist().inv_cdf
    quantiles = np.array([inv_cdf((k + 0.5) / TABLE_LEN) for k in range(TABLE_LEN)], dtype=np.float64)
    table = (quantiles / np.sqrt(np.mean(quantiles * quantiles))).astype("<f4")
    digest = hashlib.sha256(table.tobytes()).hexdigest()
    if digest != TABLE_SHA256:
        raise RunError(
            f"noise table: SHA-256 is {digest}, expected {TABLE_SHA256}; "
            "this platform's math library cannot reproduce saved candidates"
        )
    table = table.astype(np.float32, copy=False)
    table.flags.writeable = False
    return table


class Row(NamedTuple):
    """Rows of a part of a matrix: `length` weights each, the first ones `stride` apart in the whole tensor."""

    length: int
    stride: int


class Part(NamedTuple):
    """A range of flat weights that lies in one tensor, and where it lies there.

    Attributes:
        at: Index of its first weight in the flat weights.
        size: Number of weights.
        name: Canonical Hugging Face parameter name of the tensor.
        start: Row-major index of the first weight in the unsharded, unfused tensor.
        row: How the weights lie in that tensor, if not in one range: whole rows, one after the other.
        factor: On sigma; see `scaled_sigma`.
    """

    at: int
    size: int
    name: str
    start: int = 0
    row: Row | None = None
    factor: float = 1.0


def tensor_key(name: str) -> tuple[int, int]:
    """Return the two 32-bit counter words ``(lo, hi)`` that give every parameter its own noise.

    Args:
        name: Canonical Hugging Face parameter name, as in the unsharded, unfused checkpoint.

    Raises:
        InputError: If the name is empty or is not a string that UTF-8 can encode.
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"name is {name!r}; it must be a non-empty parameter name")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"name is {name!r}; it cannot be encoded as UTF-8") from error
    key = int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")
    return key & 0xFFFFFFFF, key >> 32


def seed_key(seed: int) -> tuple[int, int]:
    """Return the two 32-bit Philox key words ``(lo, hi)`` of an unsigned 64-bit seed.

    Raises:
        InputError: If ``seed`` is not an integer from 0 to 2**64 - 1.
    """
    seed = _integer("seed", seed)
    if not 0 <= seed < 1 << 64:
        raise InputError(f"seed is {seed}; seeds must be from 0 to 2**64 - 1")
    return seed & 0xFFFFFFFF, seed >> 32


def check_sigma(sigma: float) -> np.float32:
    """Return ``sigma`` rounded to float32, as the contract multiplies it.

    Raises:
        InputError: If it is not a finite number > 0, before or after rounding.
    """
    try:
        value = float(sigma)
    except (TypeError, ValueError) as error:
        raise InputError(f"sigma is {sigma!r}; it must be a number > 0") from error
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.float32(value)
    if not (math.isfinite(rounded) and rounded > 0):
        raise InputError(f"sigma is {sigma!r}; it must be finite and > 0 as a float32")
    return rounded


def scaled_sigma(sigma: float, factor: float) -> float:
    """Return the sigma of a tensor with a factor: the product in float64, which kernels round to float32 as any other.

    So a candidate has, in such a tensor, the very bits of a candidate of sigma ``sigma * factor``; a factor of 1 is no
    factor at all.
    """
    return sigma if factor == 1 else float(sigma) * float(factor)


def check_range(start: int, count: int) -> tuple[int, int]:
    """Return ``(start, count)`` as plain integers, both in elements.

    Raises:
        InputError: If either is negative or not an integer, or the range ends beyond element 2**62.
    """
    start, count = _integer("start", start), _integer("count", count)
    if start < 0 or count < 0 or start + count > MAX_INDEX:
        raise InputError(f"start is {start} and count is {count}; both must be >= 0 and their sum at most 2**62")
    return start, count


def check_rows(start: int, count: int, row: Row | None) -> tuple[int, Row]:
    """Return where the weights begin and the rows that they lie in, as plain integers; one row holds all without `row`.

    Raises:
        InputError: As for `check_range`, or the rows are empty, overlap, or the last one is not whole.
    """
    if row is None:
        start, count = check_range(start, count)
        return start, Row(max(count, 1), max(count, 1))
    length, stride = _integer("row.length", row.length), _integer("row.stride", row.stride)
    if not 0 < length <= stride or count % length:
        raise InputError(
            f"row is {length} weights, {stride} apart, for {count} weights in all; "
            "rows must not be empty or overlap, and all must be whole"
        )
    n_rows = count // length
    start, _ = check_range(start, max(0, (n_rows - 1) * stride + length) if n_rows else 0)
    return start, Row(length, stride)


def check_family(family: Family) -> None:
    """Raise ``InputError`` unless ``family`` is one the contract defines."""
    if family not in get_args(Family):
        raise InputError(f"family is {family!r}; it must be one of {', '.join(get_args(Family))}")


def _integer(field: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise InputError(f"{field} is {value!r}; it must be an integer") from error
