"""The self-test of an engine: what an engine might get wrong is planted, and is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import SelfTestError
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.checksums import checksums
from thickets.tasks.engines.kernel_check import kernel_faults
from thickets.tasks.engines.self_test import self_test
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Candidate

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model", dtype=torch.bfloat16)


@pytest.fixture
def engine(folder: Path) -> Iterator[TransformersEngine]:
    spec = EngineSpec("transformers", folder, Perturbation(exclude=("*norm*",)), device=DEVICE.type, prefetch=False)
    made = TransformersEngine(spec)
    yield made
    made.close()


def test_a_sound_engine_passes_and_holds_the_base_afterwards(engine: TransformersEngine) -> None:
    before = engine.weights_sha256()
    proof = self_test(engine)
    assert engine.weights_sha256() == before
    assert proof.n_tensors == 20
    assert proof.n_changed == 15  # the norms are left alone


def test_a_tensor_that_is_not_written_is_caught(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_weights", engine._weights[1:])
    with pytest.raises(SelfTestError, match=r"1 of 15 tensors keep the base's weights .*embed_tokens.*nothing is sc"):
        self_test(engine)


def test_a_tensor_that_is_written_although_it_is_excluded_is_caught(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = frozenset(name for name in engine._perturbed if "layers.1.mlp" not in name)
    monkeypatch.setattr(engine, "_perturbed", fewer)
    with pytest.raises(SelfTestError, match=r"3 of 8 tensors change with a candidate that leaves them alone"):
        self_test(engine)


def test_a_base_that_does_not_come_back_is_caught(engine: TransformersEngine) -> None:
    engine._weights[4].base[7] += 1
    with pytest.raises(SelfTestError, match=r"1 of 20 tensors do not come back with the base \(model\.layers\.0"):
        self_test(engine)


def test_keys_and_values_that_are_kept_are_caught(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    load = engine.load

    def forgetful(weights) -> None:
        kept = engine._prefix
        load(weights)
        engine._prefix = kept

    monkeypatch.setattr(engine, "load", forgetful)
    with pytest.raises(SelfTestError, match=r"7 tokens of a prompt are still read"):
        self_test(engine)


def test_the_few_large_weights_of_a_tensor_are_no_fault(engine: TransformersEngine) -> None:
    """A candidate rounds back to them, in bfloat16; one of a vast sigma does not."""
    engine._weights[3].live.fill_(30000.0)
    engine._weights[3].base.fill_(30000.0)
    assert self_test(engine).n_changed == 15


def test_other_noise_than_the_reference_s_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [kernel_faults(DEVICE, DTYPES, family) for family in ("gaussian", "rademacher")] == [[], []]
    module = "thickets.tasks.engines.kernel_check.write_candidate"

    def another(live: torch.Tensor, base: torch.Tensor, *, candidate: Candidate, **_: object) -> None:
        live.copy_(base)

    monkeypatch.setattr(module, another)
    [one, *others] = kernel_faults(DEVICE, DTYPES, "gaussian")
    assert one.startswith(f"noise made on {DEVICE} in float32 is not the reference's (6")
    assert len(others) == 2


class TestChecksums:
    def test_equal_bits_have_equal_ones_wherever_they_lie(self) -> None:
        whole = torch.randn(600_001).bfloat16()
        for start, stop in ((0, 600_000), (1, 600_001), (3, 9), (5, 5)):
            view = whole[start:stop]
            found = checksums([("view", view), ("copy", view.clone()), ("shaped", view.clone().reshape(1, -1))])
            assert len(set(found.values())) == 1, (start, stop)

    @pytest.mark.parametrize("place", [0, 1, 300_000, 599_999])
    def test_one_bit_or_two_rows_exchanged_make_another(self, place: int) -> None:
        one = torch.arange(600_000, dtype=torch.float32)
        other, swapped = one.clone(), one.clone()
        other.view(torch.int32)[place] ^= 1
        swapped[[place, place - 2]] = swapped[[place - 2, place]]  # in the same half of two words
        assert len(set(checksums([("a", one), ("b", other), ("c", swapped)]).values())) == 3

    def test_no_content_is_zero_and_a_nan_is_like_itself(self) -> None:
        nan = torch.full((3,), torch.nan)
        found = checksums([("none", torch.empty(0)), ("nan", nan), ("too", nan.clone())])
        assert found["none"] == 0
        assert found["nan"] == found["too"]
