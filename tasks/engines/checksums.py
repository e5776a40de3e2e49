"""Checksums of tensors, made on the device that holds them: bytes by place, so that a swapped row counts as well."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import torch

# Words of 8 bytes at a time: few enough for a processor's cache, and for a GPU few launches.
_CHUNK_LEN = 1 << 18
_WORDS = (torch.int64, torch.int32, torch.int16, torch.uint8)
_ODD = 0x9E3779B1  # a large odd number: neighbouring places get weights that differ in many bits


def checksums(named: Iterable[tuple[str, torch.Tensor]]) -> dict[str, int]:
    """Return one signed 64-bit number per tensor; equal bits give equal numbers on every device.

    The devices are waited for once, at the end. It is no hash against an adversary.

    Args:
        named: Names with tensors of any shape and type.
    """
    sums = {name: _checksum(tensor) for name, tensor in named}
    return {name: int(value) for name, value in sums.items()}


@torch.no_grad()
def _checksum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor's words, each times an odd number of its place, modulo 2**64."""
    words = _words(tensor.detach().reshape(-1))
    total = torch.zeros((), dtype=torch.int64, device=words.device)
    for place, start in enumerate(range(0, words.numel(), _CHUNK_LEN)):
        chunk = words[start : start + _CHUNK_LEN]
        weighted = chunk * _weights(words.device)[: chunk.numel()]
        total += weighted.sum() * (2 * place + 1)
    return total


def _words(flat: torch.Tensor) -> torch.Tensor:
    """View a flat tensor's memory as the widest integers that make it up."""
    n_bytes = flat.numel() * flat.element_size()
    word = next(word for word in _WORDS if n_bytes % word.itemsize == 0)
    begins = (flat.data_ptr(), flat.storage_offset() * flat.element_size())
    if any(place % word.itemsize for place in begins):  # a view of a larger tensor, from between two words
        flat = flat.clone()
    return flat.view(torch.uint8).view(word)


@lru_cache(maxsize=4)
def _weights(device: torch.device) -> torch.Tensor:
    """Return an odd number for each place of a chunk, int64 ``[_CHUNK_LEN]``."""
    return torch.arange(_CHUNK_LEN, dtype=torch.int64, device=device) * (2 * _ODD) + 1
