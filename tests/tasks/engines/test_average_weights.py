"""The weight average of candidates: the definition in plain NumPy, and the same bits wherever it is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, average_weights
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.candidate_weights import copy_base, write_candidate
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Family, Perturbation, noise
from thickets.tasks.noise.spec import Row
from thickets.tasks.types import Average, Candidate, Weights

NAME = "model.layers.0.mlp.down_proj.weight"
MEMBERS = (Candidate(1 << 40, 0.02), Candidate(7, 0.001), Candidate(2**64 - 1, 0.3))
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FAMILIES: list[Family] = ["gaussian", "rademacher"]


def weights(dtype: torch.dtype, n: int = 1001) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(0)).to(dtype)


def written(base: torch.Tensor, wanted: Weights, family: Family = "gaussian") -> torch.Tensor:
    live = torch.zeros_like(base)
    write_weights(live, base, name=NAME, weights=wanted, family=family)
    return live


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def in_numpy(base: torch.Tensor, members: tuple[Candidate, ...], name: str, family: Family) -> torch.Tensor:
    """The definition, with nothing of the kernels in it but the noise itself."""
    n = base.numel()
    change = [np.float32(member.sigma) * noise(member.seed, name, 0, n, family) for member in members]
    total = change[0]
    for each in change[1:]:
        total = total + each
    assert total.dtype == np.float32
    mean = total / np.float32(len(members))
    return torch.from_numpy(base.float().numpy().ravel() + mean).to(base.dtype)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_average_of_one_is_that_candidate(dtype: torch.dtype, family: Family) -> None:
    base = weights(dtype)
    base[:4] = torch.tensor([float("nan"), float("inf"), -0.0, 65504.0]).to(dtype)
    base[4:5].view(torch.uint8).fill_(255)  # a NaN with another payload
    expected = torch.zeros_like(base)
    write_candidate(expected, base, name=NAME, candidate=MEMBERS[0], family=family)
    assert same_bits(written(base, Average(MEMBERS[:1]), family), expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_average_of_several_is_that_of_plain_numpy(dtype: torch.dtype, family: Family) -> None:
    base = weights(dtype)
    assert same_bits(written(base, Average(MEMBERS), family), in_numpy(base, MEMBERS, NAME, family))
    assert torch.equal(base, weights(dtype))
    assert not torch.equal(written(base, Average(MEMBERS[:2]), family), written(base, Average(MEMBERS), family))


def test_noise_too_small_for_float32_leaves_the_sign_of_zero_as_the_candidate_does() -> None:
    tiny = Candidate(5, 1e-45)
    base = torch.full((64,), -0.0)
    expected = torch.zeros_like(base)
    write_candidate(expected, base, name=NAME, candidate=tiny, family="gaussian")
    assert 0 < torch.signbit(expected).sum() < 64
    assert same_bits(written(base, Average((tiny,))), expected)


def test_a_large_tensor_is_made_in_chunks_and_may_overwrite_its_base(monkeypatch: pytest.MonkeyPatch) -> None:
    base = weights(torch.bfloat16)
    whole = written(base, Average(MEMBERS))
    monkeypatch.setattr(average_weights, "CHUNK_LEN", 99)  # amid a block of the noise
    assert same_bits(written(base, Average(MEMBERS)), whole)
    write_weights(base, base, name=NAME, weights=Average(MEMBERS), family="gaussian")
    assert same_bits(base, whole)


def test_columns_of_a_matrix_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    base = weights(torch.bfloat16)
    base = base[: base.numel() // 40 * 40]
    whole = written(base, Average(MEMBERS)).view(-1, 40)
    monkeypatch.setattr(average_weights, "CHUNK_LEN", 99)
    part = base.view(-1, 40)[:, 13:30].reshape(-1).clone()
    live = torch.zeros_like(part)
    write_weights(
        live, part, name=NAME, weights=Average(MEMBERS), family="gaussian", start=13, row=Row(length=17, stride=40)
    )
    assert same_bits(live, whole[:, 13:30].reshape(-1))


def test_an_average_of_nobody_and_weights_without_noise_are_refused() -> None:
    with pytest.raises(InputError, match="found none"):
        Average(())
    for live, base in ((torch.zeros(4).double(), torch.zeros(4).double()), (torch.zeros(4), torch.zeros(1))):
        with pytest.raises(InputError, match=NAME):
            write_weights(live, base, name=NAME, weights=Average(MEMBERS), family="gaussian")


def test_the_name_of_an_average_says_whose_it_is_and_in_which_order() -> None:
    everybody = Average(MEMBERS)
    assert everybody.id == "base~average1x3#b8a6e1f1d1fccd56"
    assert len({everybody.id, Average(MEMBERS[::-1]).id, Average(MEMBERS[:2]).id, Average(MEMBERS[:1]).id}) == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_engine_holds_the_average_and_then_the_base_again(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = make_tiny_model(tmp_path, dtype=dtype)
    perturbation = Perturbation(exclude=("*norm*",))
    held = TransformersEngine(EngineSpec("transformers", folder, perturbation))
    base = {name: tensor.detach().clone() for name, tensor in held._model.named_parameters()}
    before = held.weights_sha256()
    held.load(Average(MEMBERS))
    for name, tensor in held._model.named_parameters():
        expected = base[name].ravel() if "norm" in name else in_numpy(base[name], MEMBERS, name, "gaussian")
        assert same_bits(tensor.detach().ravel(), expected), name
    digest = held.weights_sha256()
    held.load(Average(MEMBERS[:1]))
    alone = held.weights_sha256()
    held.load(MEMBERS[0])
    assert held.weights_sha256() == alone != digest
    held.load(None)
    assert held.weights_sha256() == before
    # Made ahead of its time, and after a wrong hint.
    held.prepare(Average(MEMBERS))
    held.load(Average(MEMBERS))
    assert held.weights_sha256() == digest
    held.prepare(Average(MEMBERS[::-1]))
    held.load(Average(MEMBERS))
    assert held.weights_sha256() == digest
    held.load(None)
    assert held.weights_sha256() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("where", ["device", "host"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_average_on_a_device_has_the_same_bits(dtype: torch.dtype, where: str) -> None:
    live = weights(dtype).cuda()
    base = copy_base(live, where)  # type: ignore[arg-type]
    write_weights(live, base, name=NAME, weights=Average(MEMBERS), family="gaussian")
    assert same_bits(live.cpu(), written(weights(dtype), Average(MEMBERS)))
