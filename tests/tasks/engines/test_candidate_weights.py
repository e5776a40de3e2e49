"""A candidate's weights are written by whichever kernel the place of the weights calls for, and are the same bits."""

import logging
import sys

import numpy as np
import pytest
import torch

from thickets.storage.errors import InputError
from thickets.tasks.engines import candidate_weights
from thickets.tasks.engines.candidate_weights import copy_base, write_candidate
from thickets.tasks.noise.reference import perturbed
from thickets.tasks.types import Candidate

NAME = "model.layers.0.mlp.down_proj.weight"
CANDIDATE = Candidate(1 << 40, 0.02)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FAMILIES = ["gaussian", "rademacher"]


def weights(dtype, n=1001):
    return torch.randn(n, generator=torch.Generator().manual_seed(0)).to(dtype)


def bits(tensor):
    return tensor.numpy() if tensor.dtype == torch.float32 else tensor.view(torch.int16).numpy().view(np.uint16)


def expected(base, family):
    dtype = str(base.dtype).removeprefix("torch.")
    return perturbed(
        bits(base), dtype=dtype, seed=CANDIDATE.seed, sigma=CANDIDATE.sigma, name=NAME, start=0, family=family
    )


@pytest.fixture(autouse=True)
def fresh_kernel_choice():
    candidate_weights._device_kernel.cache_clear()
    yield
    candidate_weights._device_kernel.cache_clear()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_in_host_memory_become_the_candidate_of_the_reference(dtype, family):
    live, base = torch.zeros(1001, dtype=dtype), weights(dtype)
    write_candidate(live, base, name=NAME, candidate=CANDIDATE, family=family)
    np.testing.assert_array_equal(bits(live), expected(base, family))
    assert torch.equal(base, weights(dtype))


@pytest.mark.parametrize("base_device", ["meta", "cpu"])
def test_a_base_beside_the_weights_is_read_there_and_one_in_host_memory_is_copied_over_first(monkeypatch, base_device):
    calls = []
    monkeypatch.setattr(candidate_weights, "_on_device", lambda live: True)
    monkeypatch.setattr(candidate_weights, "_device_kernel", lambda: lambda *given, **named: calls.append(given))
    live, base = torch.empty(8, device="meta"), torch.empty(8, device=base_device)
    write_candidate(live, base, name=NAME, candidate=CANDIDATE, family="gaussian")
    assert len(calls) == 1
    assert calls[0][0] is live
    assert calls[0][1] is (base if base_device == "meta" else live)


def test_without_triton_there_is_no_device_kernel_and_one_warning(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "thickets.tasks.noise.triton_kernel", None)
    with caplog.at_level(logging.WARNING):
        assert [candidate_weights._device_kernel() for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert "made on the host" in caplog.text


def test_the_base_copy_is_flat_and_apart_from_the_weights():
    live = weights(torch.bfloat16, 12).view(3, 4)
    for where in ("device", "host"):
        base = copy_base(live, where)
        assert base.shape == (12,)
        assert torch.equal(base.view(3, 4), live)
        assert base.data_ptr() != live.data_ptr()


@pytest.mark.parametrize(
    ("live", "base", "message"),
    [
        (torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64), "noise is defined for float32"),
        (torch.zeros(4), torch.zeros(4).half(), "both must be flat and alike"),
        (torch.zeros(4), torch.zeros(5), "both must be flat and alike"),
        (torch.zeros(2, 2), torch.zeros(2, 2), "both must be flat and alike"),
        (torch.zeros(4), torch.zeros(4, device="meta"), "or in host memory"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(live, base, message):
    with pytest.raises(InputError, match=message) as caught:
        write_candidate(live, base, name=NAME, candidate=CANDIDATE, family="gaussian")
    assert NAME in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("triton", [True, False], ids=["triton", "no-triton"])
@pytest.mark.parametrize("where", ["device", "host"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_on_a_device_become_the_same_candidate(monkeypatch, dtype, family, where, triton):
    if not triton:
        monkeypatch.setitem(sys.modules, "thickets.tasks.noise.triton_kernel", None)
    live = weights(dtype).cuda()
    base = copy_base(live, where)
    assert (base.is_cuda, base.is_pinned()) == ((True, False) if triton and where == "device" else (False, True))
    for _ in range(2):
        write_candidate(live, base, name=NAME, candidate=CANDIDATE, family=family)
    np.testing.assert_array_equal(bits(live.cpu()), expected(weights(dtype), family))


def test_without_a_compiler_noise_for_a_gpu_is_made_on_the_host(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(candidate_weights, "c_compiler", lambda: None)
    assert candidate_weights._device_kernel() is None
    assert "no C compiler" in caplog.text
