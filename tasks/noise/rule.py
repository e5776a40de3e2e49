"""Rules that give every tensor a factor on sigma which follows from its shape and norm; docs/design.md#noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from thickets.storage.errors import InputError

Rule = Literal["balanced"]

_N_BFLOAT16 = 1 << 16
_EXPONENT = np.uint32(0x7F80)
# Of a factor: beyond what anybody can tell, and few enough that the last bits of a library's logarithm do not show.
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Measured:
    """A tensor as a rule sees it.

    Attributes:
        name: Name of its noise.
        shape: In the checkpoint.
        mean_square: Of its weights; see `mean_square`.
        is_vocabulary: Whether it has a row per token, of which one is looked up, or all compete.
    """

    name: str
    shape: tuple[int, ...]
    mean_square: float
    is_vocabulary: bool

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)


def balanced(tensors: Sequence[Measured]) -> dict[str, float]:
    """Return the factor of each tensor under which noise at its worst weighs equally much in all of them.

    Of a tensor with root mean square r, noise of standard deviation s changes what it is used for by s / r of its size;
    in the worst case by this times

    * ``1 + sqrt(in / out)`` for a matrix ``[out, in]`` (a convolution, ``[out, all else]``): of all inputs of one
      length, the one that the noise stretches most comes out ``sqrt(in) + sqrt(out)`` times s long, where the matrix
      makes ``sqrt(out)`` times r of any input without bias to it;
    * ``sqrt(2 ln n)`` for n numbers that each act alone, because that is how far the largest of n draws lies out: the
      gains of a norm, each of which multiplies one channel; a bias; and the n rows of a vocabulary, of which one is
      looked up or, read as a head, the largest wins.

    The factors make this product the same everywhere, and are then scaled so that the noise of the whole model is as
    long as without them: the mean of their squares, over all weights, is 1.

    Args:
        tensors: Those that are perturbed.

    Returns:
        By name, rounded to six digits. A tensor of zeros gets 0: whatever it may be, no noise is small beside it.

    Raises:
        InputError: All are zeros.
    """
    plain = {tensor.name: math.sqrt(tensor.mean_square) / _worst(tensor) for tensor in tensors}
    length = math.fsum(tensor.size * plain[tensor.name] ** 2 for tensor in tensors)
    if not length > 0:
        raise InputError("noise.rule: found nothing but zeros in the tensors that are perturbed; it needs weights")
    unit = math.sqrt(sum(tensor.size for tensor in tensors) / length)
    return {name: float(f"{unit * value:.{_DIGITS}g}") for name, value in plain.items()}


def _worst(tensor: Measured) -> float:
    rows = tensor.shape[0] if tensor.shape else 1
    if tensor.is_vocabulary or len(tensor.shape) < 2:
        return math.sqrt(max(1.0, 2 * math.log(max(rows, 1))))
    return 1 + math.sqrt(tensor.size / rows / rows)


def count_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Count every bit pattern of weights in bfloat16, ``[n]``: int64 ``[65536]``."""
    return np.bincount(bits, minlength=_N_BFLOAT16).astype(np.int64)


def mean_square(counts: NDArray[np.int64], name: str) -> float:
    """Return the mean of the squares of weights that were rounded to bfloat16 and counted.

    Exact up to one rounding, so that it is the same on every machine; a sum of floats would depend on its order, which
    differs from processor to processor. And the same whether the weights are kept in bfloat16 or in float32.

    Args:
        counts: As `count_bfloat16` gives them; those of pieces of a tensor may be added up.
        name: Of the tensor.

    Raises:
        InputError: A weight is infinite or not a number.
    """
    patterns = np.arange(_N_BFLOAT16, dtype=np.uint32)
    is_finite = (patterns & _EXPONENT) != _EXPONENT
    if counts[~is_finite].any():
        raise InputError(f"noise.rule: the parameter {name} has weights that are infinite or not a number")
    values = (patterns[is_finite] << np.uint32(16)).view(np.float32).astype(np.float64)
    # Exact: 16 bits of a square and at most 37 of a count.
    products = np.square(values) * counts[is_finite]
    return math.fsum(products[products > 0].tolist()) / max(1, int(counts.sum()))
