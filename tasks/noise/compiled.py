"""The inner loops of the Numba kernel: Philox words, words to noise, noise onto weights.

Each loop is short and branch-free over flat scratch that stays in the L1 cache, which is what lets LLVM run it on
whole vector registers. Integer types are spelled out everywhere: Numba turns uint64 with a Python int into float64.
The 16-bit halves of a word are read through a view, so the order of the contract needs a little-endian machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numba as nb
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from thickets.tasks.noise.spec import PHILOX_M0, PHILOX_M1, PHILOX_ROUNDS, PHILOX_W0, PHILOX_W1

FLOAT32: Final = 0
BFLOAT16: Final = 1
FLOAT16: Final = 2

# Weights per unit of parallel work: 30 microseconds of it, against less than one to claim the next.
CHUNK_LEN: Final = 1 << 15
# Weights per pass of the loops: words (4 KB), noise (8 KB) and the weights (4 to 16 KB) share a 32 KB L1 cache.
_GROUP_LEN: Final = 2048
_LINE_LEN: Final = 32  # weights of 16 bits in a line of the cache

_M0, _M1 = np.uint64(PHILOX_M0), np.uint64(PHILOX_M1)
_W0, _W1 = np.uint64(PHILOX_W0), np.uint64(PHILOX_W1)
_ROUNDS = PHILOX_ROUNDS
_LOW32, _SHIFT32 = np.uint64(0xFFFFFFFF), np.uint64(32)

_ONE, _SHIFT16, _SHIFT13 = np.uint32(1), np.uint32(16), np.uint32(13)
_MAGNITUDE, _SIGN = np.uint32(0x7FFFFFFF), np.uint32(0x80000000)
_INF, _NAN = np.uint32(0x7F800000), np.uint32(0x7FC00000)
_BF16_ROUND, _BF16_NAN = np.uint32(0x7FFF), np.uint16(0x7FC0)
_HALF_SIGN, _HALF_MAGNITUDE = np.uint16(0x8000), np.uint16(0x7FFF)
_HALF_ROUND, _HALF_INF, _HALF_NAN = np.uint32(0xFFF), np.uint32(0x7C00), np.uint16(0x7E00)
# A half's exponent bias is 15, a float's 127; 113 is the float exponent of 2**-14, the smallest normal half.
_REBIAS, _TINY = np.uint32((127 - 15) << 23), np.uint32(113 << 23)
_OVER_HALF = np.uint32((127 + 16) << 23)  # 2**16, beyond every finite half
_HALF_TINY, _HALF_SPECIAL = np.uint32(1 << 23), np.uint32(31 << 23)  # exponents 1 and 31 of a half, in float position
_POINT_FIVE = np.uint32(126 << 23)


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the GIL and cache on disk: beside this file, or else in the user's cache folder."""
    try:
        compiled = nb.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither folder can be written (a read-only container without a home): compile once per process.
        compiled = nb.njit(nogil=True)(function)
    return compiled


@intrinsic
def _bits(typingctx: Any, value: Any) -> Any:
    """Reinterpret a float32 as its uint32 bit pattern."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(nb.uint32))

    return nb.uint32(nb.float32), codegen


@intrinsic
def _float(typingctx: Any, bits: Any) -> Any:
    """Reinterpret a uint32 bit pattern as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(nb.float32))

    return nb.float32(nb.uint32), codegen


@intrinsic
def _claim(typingctx: Any, counter: Any) -> Any:
    """Atomically add one to ``counter[0]`` (int64 array) and return what it was before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.atomic_rmw("add", array.data, context.get_constant(nb.int64, 1), "monotonic")

    return nb.int64(counter), codegen


def _prefetching(*, for_write: bool) -> Any:
    """Make a function that has the cache line of ``array[index]`` fetched, and does not wait for it."""

    @intrinsic
    def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            flat = context.make_array(signature.args[0])(context, builder, args[0])
            i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
            llvm_prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
            line = builder.bitcast(builder.gep(flat.data, [args[1]]), pointer)
            builder.call(llvm_prefetch, [line, i32(int(for_write)), i32(3), i32(1)])
            return context.get_dummy_value()

        return nb.void(array, nb.int64), codegen

    return prefetch


_fetch_to_read, _fetch_to_write = _prefetching(for_write=False), _prefetching(for_write=True)


@_jit
def _philox(words, block, key):  # type: ignore[no-untyped-def]
    """Fill uint32 ``words [4 * n]`` with Philox4x32-10 of blocks ``block .. block + n``, one block per vector lane."""
    tensor_lo, tensor_hi, seed_lo, seed_hi = key[0] & _LOW32, key[1] & _LOW32, key[2] & _LOW32, key[3] & _LOW32
    for lane in range(len(words) // 4):
        counter = block + np.uint64(lane)
        c0, c1, c2, c3 = counter & _LOW32, counter >> _SHIFT32, tensor_lo, tensor_hi
        key0, key1 = seed_lo, seed_hi
        for _ in range(_ROUNDS):
            p0, p1 = c0 * _M0, c2 * _M1
            c0, c1 = (p1 >> _SHIFT32) ^ c1 ^ key0, p1 & _LOW32
            c2, c3 = (p0 >> _SHIFT32) ^ c3 ^ key1, p0 & _LOW32
            key0, key1 = (key0 + _W0) & _LOW32, (key1 + _W1) & _LOW32
        words[4 * lane] = np.uint32(c0)
        words[4 * lane + 1] = np.uint32(c1)
        words[4 * lane + 2] = np.uint32(c2)
        words[4 * lane + 3] = np.uint32(c3)


@_jit
def _gaussian(eps, halves, table):  # type: ignore[no-untyped-def]
    """``eps [n] = table[halves [n]]``."""
    for i in range(len(eps)):
        eps[i] = table[halves[i]]


@_jit
def _rademacher(eps, words, sigma):  # type: ignore[no-untyped-def]
    """``eps [32 * n]`` = plus or minus sigma, by the bits of ``words [n]``, lowest first."""
    for w in range(len(words)):
        word = words[w]
        signs = eps[32 * w : 32 * w + 32]
        for bit in range(32):
            signs[bit] = sigma if (word >> np.uint32(bit)) & _ONE == _ONE else -sigma


@_jit
def _add_float32(out, base, eps):  # type: ignore[no-untyped-def]
    for i in range(len(eps)):
        bits = _bits(base[i] + eps[i])
        out[i] = _float(bits if np.uint32(bits & _MAGNITUDE) <= _INF else _NAN)


@_jit
def _add_bfloat16(out, base, eps):  # type: ignore[no-untyped-def]
    for i in range(len(eps)):
        bits = _bits(_float(np.uint32(np.uint32(base[i]) << _SHIFT16)) + eps[i])
        # Ties to even: the carry of this addition rounds up, and past the largest finite value it makes infinity.
        rounded = np.uint32(bits + _BF16_ROUND + ((bits >> _SHIFT16) & _ONE)) >> _SHIFT16
        out[i] = np.uint16(rounded) if np.uint32(bits & _MAGNITUDE) <= _INF else _BF16_NAN


@_jit
def _add_float16(out, base, eps):  # type: ignore[no-untyped-def]
    for i in range(len(eps)):
        out[i] = _to_half(_from_half(base[i]) + eps[i])


@_jit
def _from_half(half):  # type: ignore[no-untyped-def]
    """Widen float16 bits to float32, exactly, in integer steps that vectorise even where the CPU has no half type."""
    sign = np.uint32(np.uint32(half & _HALF_SIGN) << _SHIFT16)
    magnitude = np.uint32(np.uint32(half & _HALF_MAGNITUDE) << _SHIFT13)
    bits = np.uint32(magnitude + _REBIAS)
    bits = np.uint32(bits + _REBIAS) if magnitude >= _HALF_SPECIAL else bits
    # A subnormal is its mantissa without the implicit one: let the float have that one, worth 2**-14, then take it off.
    subnormal = _bits(_float(np.uint32(magnitude + _TINY)) - _float(_TINY))
    bits = subnormal if magnitude < _HALF_TINY else bits
    return _float(np.uint32(bits | sign))


@_jit
def _to_half(value):  # type: ignore[no-untyped-def]
    """Round float32 to float16 bits: ties to even, overflow to infinity, every NaN to the one quiet NaN."""
    bits = _bits(value)
    sign = np.uint32(np.uint32(bits & _SIGN) >> _SHIFT16)
    magnitude = np.uint32(bits & _MAGNITUDE)
    odd = (magnitude >> _SHIFT13) & _ONE
    normal = np.uint32(np.uint32(magnitude - _REBIAS + _HALF_ROUND + odd) >> _SHIFT13)
    # One ulp of a float in [0.5, 1) is the smallest subnormal half, so this addition rounds as the cast must.
    subnormal = np.uint32(_bits(_float(magnitude) + _float(_POINT_FIVE)) - _POINT_FIVE)
    half = normal if magnitude >= _TINY else subnormal
    half = half if magnitude < _OVER_HALF else _HALF_INF
    return np.uint16(half | sign) if magnitude <= _INF else _HALF_NAN


@_jit
def _fetch(arrays, at, n):  # type: ignore[no-untyped-def]
    """Have memory work while words are made, or the additions would wait for it."""
    out32, base32, out16, base16 = arrays
    for line in range(at, min(at + n, len(out16)), _LINE_LEN):
        _fetch_to_read(base16, line)
        _fetch_to_write(out16, line)
    for line in range(at, min(at + n, len(out32)), _LINE_LEN // 2):
        _fetch_to_read(base32, line)
        _fetch_to_write(out32, line)


@_jit
def perturb_chunks(counter, arrays, code, parts, draw):  # type: ignore[no-untyped-def]
    """Claim chunks from ``counter`` and perturb them until none is left; any number of threads may run this at once.

    Args:
        counter: int64 ``[1]``, zero at first, shared by the threads of one call.
        arrays: ``(out32, base32, out16, base16)``, flat: the float32 pair or the uint16 pair has the weights, the other
            is empty. Bases are read-only. One signature for all dtypes is one compilation for all dtypes.
        code: ``FLOAT32``, ``BFLOAT16`` or ``FLOAT16``.
        parts: ``(places, keys)``: int64 ``[n_parts, 6]`` and uint64 ``[n_parts, 2]``, for parts that cover the arrays
            one after the other. A place is ``(first, end, start, row_len, row_stride, scale)``: from `first` to before
            `end` lie rows of `row_len` weights that are `row_stride` apart in the whole tensor, the first at `start`;
            weights that lie in one range are one row; `scale` is an index of `sigmas`. Where `start` is negative, the
            base is copied. Keys are ``(lo, hi)``.
        draw: ``(block_len, tables, sigmas, seed)``: weights per Philox block, 8 (gaussian) or 128 (rademacher); float32
            ``[n_sigmas, 65536]``, the gaussian noise already multiplied by each sigma and rounded; float32
            ``[n_sigmas]``; and uint64 ``(lo, hi)``.
    """
    out32, base32, out16, base16 = arrays
    places, keys = parts
    block_len, tables, sigmas, seed = draw
    words = np.empty(_GROUP_LEN // 2, np.uint32)
    halves = words.view(np.uint16)
    eps = np.empty(_GROUP_LEN, np.float32)
    end = max(len(out32), len(out16))
    while True:
        at = _claim(counter) * CHUNK_LEN
        last = min(end, at + CHUNK_LEN)
        if at >= last:
            return
        part = 0
        while at < last:
            while at >= places[part, 1]:
                part += 1
            first, start, row_len, row_stride = places[part, 0], places[part, 2], places[part, 3], places[part, 4]
            if start < 0:
                n = min(last, places[part, 1]) - at
                out32[at : at + n] = base32[at : at + n]
                out16[at : at + n] = base16[at : at + n]
                at += n
                continue
            row = (at - first) // row_len
            column = at - first - row * row_len
            index = start + row * row_stride + column
            # Whole blocks are made, from the one that holds element `index`; `skip` of its weights come before it.
            block = index // block_len
            skip = index - block * block_len
            n = min(_GROUP_LEN - skip, last - at, row_len - column)
            _fetch(arrays, at, n)
            n_blocks = (skip + n + block_len - 1) // block_len
            _philox(words[: 4 * n_blocks], np.uint64(block), (keys[part, 0], keys[part, 1], seed[0], seed[1]))
            if block_len == 8:
                _gaussian(eps[: 8 * n_blocks], halves, tables[places[part, 5]])
            else:
                _rademacher(eps[: 128 * n_blocks], words[: 4 * n_blocks], sigmas[places[part, 5]])
            wanted = eps[skip : skip + n]
            if code == FLOAT32:
                _add_float32(out32[at : at + n], base32[at : at + n], wanted)
            elif code == BFLOAT16:
                _add_bfloat16(out16[at : at + n], base16[at : at + n], wanted)
            else:
                _add_float16(out16[at : at + n], base16[at : at + n], wanted)
            at += n
