"""Copies weights into page-locked host memory of exactly their size, from which a GPU copies without waiting.

PyTorch rounds every page-locked allocation up to a power of two: 29 GB for the 15 GB of a model of 7 B parameters.
"""

from __future__ import annotations

import mmap
import weakref

import torch

from thickets.storage.errors import RunError

_SMALL_BYTES = 1 << 20  # what rounding wastes on smaller ones is nothing, and PyTorch keeps them together
_PORTABLE = 1  # cudaHostRegisterPortable: locked for every GPU of the process


def pinned_copy(value: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor in host memory that CUDA has locked.

    Raises:
        RunError: CUDA did not lock it. Going on in ordinary memory is no way out: the error stays with the process, and
            the next kernel would be blamed for it.
    """
    n_bytes = value.numel() * value.element_size()
    if n_bytes < _SMALL_BYTES:
        return value.detach().cpu().contiguous().pin_memory()
    pages = mmap.mmap(-1, n_bytes)  # begins on a page, and shares none with anything else
    copy = torch.frombuffer(pages, dtype=torch.uint8).view(value.dtype).view(value.shape)
    copy.copy_(value.detach())
    if error := _lock(copy.data_ptr(), n_bytes):
        raise RunError(
            f"engine.base_copy: CUDA could not lock {n_bytes / 1e9:.1f} GB of host memory for the base (error "
            f"{error}); "
            "free some of it, or make room for the base on the GPU: lower engine.batch_size, or divide the model with "
            "engine.vllm.tensor_parallel"
        )
    # The pages go with the last tensor on them; what is still locked then could never be locked again.
    weakref.finalize(pages, _unlock, copy.data_ptr()).atexit = False
    return copy


def _lock(address: int, n_bytes: int) -> int:
    return int(torch.cuda.cudart().cudaHostRegister(address, n_bytes, _PORTABLE))


def _unlock(address: int) -> None:
    torch.cuda.cudart().cudaHostUnregister(address)
