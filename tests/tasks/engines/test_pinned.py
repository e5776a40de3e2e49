"""The host copy of a base: its bits, no byte more than they take, and locked for as long as it is there."""

from __future__ import annotations

import gc
import mmap

import pytest
import torch

from thickets.storage.errors import RunError
from thickets.tasks.engines import pinned
from thickets.tasks.engines.pinned import pinned_copy

N = (1 << 20) + 3


class Cuda:
    """Stands in for the CUDA runtime, which only a machine with a GPU has."""

    def __init__(self, error: int = 0) -> None:
        self.error, self.locked = error, dict[int, int]()

    def cudaHostRegister(self, address: int, n_bytes: int, flags: int) -> int:
        self.locked[address] = n_bytes
        return self.error

    def cudaHostUnregister(self, address: int) -> None:
        del self.locked[address]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    monkeypatch.setattr(pinned.torch.cuda, "cudart", lambda: fake)
    return fake


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_copy_has_the_bits_and_takes_exactly_their_bytes(cuda: Cuda, dtype: torch.dtype) -> None:
    value = torch.randn(2, N, generator=torch.Generator().manual_seed(0)).to(dtype)
    copy = pinned_copy(value)
    assert torch.equal(copy, value)
    assert (copy.dtype, copy.data_ptr() % mmap.PAGESIZE) == (dtype, 0)
    assert cuda.locked == {copy.data_ptr(): 2 * N * dtype.itemsize}
    value += 1
    assert not torch.equal(copy, value), "memory of its own"


def test_pages_are_unlocked_with_the_last_view_of_them(cuda: Cuda) -> None:
    copy = pinned_copy(torch.zeros(N))
    part = copy[5:]
    del copy
    gc.collect()
    assert len(cuda.locked) == 1
    del part
    gc.collect()
    assert cuda.locked == {}


def test_what_cannot_be_locked_is_one_line_with_the_setting(cuda: Cuda) -> None:
    cuda.error = 2
    with pytest.raises(RunError, match=r"^engine\.base_copy: CUDA could not lock 0\.0 GB of host memory .*error 2"):
        pinned_copy(torch.arange(N))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_takes_it_for_pinned() -> None:
    copy = pinned_copy(torch.arange(N, device="cuda"))
    assert copy.is_pinned()
    assert torch.equal(copy.cuda(non_blocking=True).cpu(), torch.arange(N))
