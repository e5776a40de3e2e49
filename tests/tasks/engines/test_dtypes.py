"""What `engine.dtype: auto` stands for, on processors and GPUs that are not here, and on checkpoints of every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny_model import make_tiny_model
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, devices, dtypes, resolve_spec
from thickets.tasks.engines.checkpoint import inspect_checkpoint
from thickets.tasks.engines.devices import device_name, pick_device
from thickets.tasks.engines.dtypes import computes_in, stored_dtype
from thickets.tasks.noise import Perturbation

AVX2_ONLY = {"avx2": True, "avx512_bf16": False, "amx_bf16": False, "cpu_name": "an old processor"}


def processor(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object]) -> None:
    monkeypatch.setattr(dtypes, "cpu_capabilities", lambda: capabilities)
    monkeypatch.setattr(devices, "cpu_capabilities", lambda: capabilities)


@pytest.mark.parametrize(
    ("capabilities", "bfloat16", "float16"),
    [
        (AVX2_ONLY, False, False),
        ({"avx512_f": True, "avx512_bf16": True}, True, False),
        ({"amx_bf16": True, "amx_fp16": False}, True, False),
        ({"avx512_fp16": True, "avx512_bf16": True}, True, True),
        ({"neon": True, "bf16": True, "fp16_arith": True}, True, True),  # Arm
        ({"neon": True, "bf16": False, "fp16_arith": True}, False, True),
        ({}, False, False),  # a PyTorch that tells nothing
    ],
)
def test_a_processor_computes_in_what_it_has_instructions_for(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], bfloat16: bool, float16: bool
) -> None:
    processor(monkeypatch, capabilities)
    cpu = torch.device("cpu")
    assert computes_in("bfloat16", cpu) is bfloat16
    assert computes_in("float16", cpu) is float16
    assert computes_in("float32", cpu)


@pytest.mark.parametrize(("capability", "bfloat16"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_computes_in_bfloat16_from_compute_capability_8_on(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], bfloat16: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert computes_in("bfloat16", torch.device("cuda")) is bfloat16
    assert computes_in("float16", torch.device("cuda"))


@pytest.mark.parametrize("kind", ["transformers", "vllm"])
@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_auto_is_float32_where_half_precision_is_emulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: torch.dtype, kind: str
) -> None:
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: True)
    folder, name = make_tiny_model(tmp_path, dtype=stored), str(stored).removeprefix("torch.")
    processor(monkeypatch, AVX2_ONLY)
    assert resolve_spec(EngineSpec(kind, folder, Perturbation(), device="cpu")).dtype == "float32"
    asked = EngineSpec(kind, folder, Perturbation(), device="cpu", dtype=name)  # type: ignore[arg-type]
    assert resolve_spec(asked).dtype == name  # what is asked for is obeyed
    processor(monkeypatch, {"avx512_bf16": True, "avx512_fp16": True})
    assert resolve_spec(EngineSpec(kind, folder, Perturbation(), device="cpu")).dtype == name


def test_a_machine_without_the_checkpoint_is_told_its_type(tmp_path: Path) -> None:
    nowhere = EngineSpec("transformers", tmp_path / "elsewhere", Perturbation(), device="cpu")
    assert resolve_spec(nowhere, stored="float32").dtype == "float32"


@pytest.mark.parametrize("field", ["dtype", "torch_dtype", None])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
def test_the_checkpoints_type_is_found_as_transformers_finds_it(
    tmp_path: Path, stored: torch.dtype, field: str | None
) -> None:
    folder = make_tiny_model(tmp_path, dtype=stored)
    config = json.loads((folder / "config.json").read_text())
    name = config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config | ({field: name} if field else {})))
    assert stored_dtype(folder) == name
    assert str(inspect_checkpoint(folder).dtype) == f"torch.{name}"


def test_auto_takes_apples_gpu_for_transformers_and_the_processor_for_vllm(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("auto takes CUDA first")
    with pytest.raises(InputError, match=r"engine\.device: 'mps' was asked for, but PyTorch sees no Apple GPU"):
        pick_device("mps")
    monkeypatch.setattr(devices, "_has_mps", lambda: True)
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: device_type == "cpu")

    def resolved(kind: str) -> tuple[str, str]:
        spec = resolve_spec(EngineSpec(kind, tiny_model, Perturbation()))
        return spec.kind, spec.device

    assert resolved("auto") == ("transformers", "mps")
    assert resolved("transformers") == ("transformers", "mps")
    assert resolved("vllm") == ("vllm", "cpu")
    assert device_name("mps") == "Apple GPU"


def test_a_processor_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, AVX2_ONLY)
    assert device_name("cpu") == "an old processor"
