"""A run that ends with a training is refused before it begins where the training cannot fit."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from thickets.flows.config import training_memory
from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError
from thickets.tasks import host_memory
from thickets.tasks.engines import devices
from thickets.tasks.engines.base_model import find_base_model

MakeConfig = Callable[..., RunConfig]
GIB = 1 << 30
STUDENT: dict[str, Any] = {"examples": 8, "method": "full", "min_rows": 1}


def test_a_run_on_the_cpu_whose_student_the_machine_cannot_hold_is_refused(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_inputs(config(distillation=STUDENT))
    monkeypatch.setattr(training_memory, "total_memory_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"^distillation\.method: training .* on the CPU holds"):
        check_inputs(config(distillation=STUDENT))
    check_inputs(config())
    assert not config().storage.home.exists()


def test_a_run_on_a_gpu_is_measured_against_its_memory_and_a_cluster_only_by_itself(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "pick_device", lambda device: torch.device("cuda", 1))
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: SimpleNamespace(total_memory=index * GIB))
    base = find_base_model(config().model)
    student = config(distillation=STUDENT, decoding={"max_tokens": 100})
    training_memory.check_training_memory(student, base, longest=50)
    with pytest.raises(InputError, match=r"rows of up to 100000100 tokens needs about .* and 0\.9 GiB are there"):
        training_memory.check_training_memory(student, base, longest=100_000_000)
    on_ray = student.model_copy(update={"engine": student.engine.model_copy(update={"executor": "ray"})})
    training_memory.check_training_memory(on_ray, base, longest=100_000_000)


def test_the_memory_of_a_machine_is_what_its_container_may_take(tmp_path: Any) -> None:
    whole = host_memory.total_memory_bytes(tmp_path)
    assert whole > host_memory.usable_memory_bytes(tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory.total_memory_bytes(tmp_path) == whole
    (tmp_path / "memory.max").write_text(f"{whole // 2}\n")
    assert host_memory.total_memory_bytes(tmp_path) == whole // 2
