"""What an engine is told of the memory that was planned for it; the card is made up, the model is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from thickets.storage.errors import InputError, OutOfMemoryError
from thickets.tasks.engines import EngineSpec, VllmOptions, card_memory
from thickets.tasks.engines.card_memory import transformers_base_copy, vllm_memory
from thickets.tasks.engines.memory_plan import GIB, TOKENS_PER_STEP, Card
from thickets.tasks.engines.model_size import measure_model
from thickets.tasks.noise import Perturbation

LENGTH = 256


@pytest.fixture
def spec(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSpec:
    monkeypatch.setattr(card_memory, "read_card", lambda device: Card(24 * GIB, 23 * GIB, 64 * GIB))
    return EngineSpec(
        "vllm", tiny_model, Perturbation(), device="cuda", dtype="bfloat16", batch_size=16, max_length=LENGTH
    )


def told(spec: EngineSpec) -> card_memory.VllmMemory:
    return vllm_memory(spec, AutoConfig.from_pretrained(spec.model_path), torch.bfloat16, LENGTH)


def test_vllm_gets_keys_and_values_for_its_batch_and_not_the_rest_of_the_card(spec: EngineSpec) -> None:
    found = told(spec)
    per_token = measure_model(spec).kv_token_bytes()
    assert 16 * LENGTH * per_token <= found.options["kv_cache_memory_bytes"] <= 16 * (LENGTH + 32) * per_token
    assert found.options["max_num_batched_tokens"] == TOKENS_PER_STEP
    assert 0 < found.options["gpu_memory_utilization"] < 0.1, "vLLM refuses to start if so much is not free"
    assert found.base_copy == "device"


def test_the_options_are_ones_that_vllm_takes(spec: EngineSpec) -> None:
    vllm = pytest.importorskip("vllm.engine.arg_utils")
    assert told(spec).options.keys() <= vllm.EngineArgs.__dataclass_fields__.keys()


def test_the_base_that_has_no_room_is_told_of_and_kept_on_the_host(
    spec: EngineSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = measure_model(spec)
    large = replace(size, weights_bytes=15 * GIB, largest_bytes=GIB)
    monkeypatch.setattr(card_memory, "measure_model", lambda spec: large)
    assert told(spec).base_copy == "host"
    assert "every load copies it over (15.0 GiB)" in caplog.text
    with pytest.raises(InputError, match=r"engine\.vllm\.memory_fraction"):
        told(replace(spec, vllm=VllmOptions(memory_fraction=0.5)))


def test_on_the_cpu_vllm_is_told_what_it_was_always_told(spec: EngineSpec) -> None:
    found = told(replace(spec, device="cpu"))
    assert found.options.keys() == {"kv_cache_memory_bytes"}


def test_a_batch_of_transformers_that_does_not_fit_is_refused_before_the_model_is_loaded(spec: EngineSpec) -> None:
    cuda = torch.device("cuda")
    spec = replace(spec, kind="transformers")
    assert transformers_base_copy(spec, cuda) == "device"
    huge = replace(spec, batch_size=10_000_000)
    with pytest.raises(OutOfMemoryError, match=r"engine\.batch_size: 10000000 rows of 256 tokens do not fit"):
        transformers_base_copy(huge, cuda)
    assert transformers_base_copy(replace(huge, max_length=None), cuda) == "device", "no length, no limit"
    assert transformers_base_copy(replace(huge, base_copy="host"), torch.device("cpu")) == "host", "nothing to plan"
