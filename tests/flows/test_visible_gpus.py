"""Two workers that see one GPU each wait for one another only if it is the same one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from thickets.flows.config.run import EngineConfig
from thickets.flows.placement import accelerator
from thickets.flows.placement.visible_gpus import physical_gpu
from thickets.tasks.engines import EngineSpec
from thickets.tasks.noise import Perturbation

# What `nvidia-smi --query-gpu=index,uuid --format=csv,noheader` prints on a machine with two.
_TWO = "0, GPU-8932f937-d72c-4106-c12f-20bd9faed9f6\n1, GPU-8932ffff-d72c-4106-c12f-20bd9faed9f6\n"


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{_TWO}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("visible", "device", "named"),
    [
        (None, "cuda:1", "cuda:1"),
        ("", "cuda:1", "cuda:1"),
        ("1", "cuda:0", "cuda:1"),
        ("3, 2", "cuda:1", "cuda:2"),
        ("1", "cuda:4", "cuda:4"),
        ("1", "cpu", "cpu"),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "cuda:0", "cuda:0"),
        ("GPU-8932ff", "cuda:0", "cuda:1"),
        ("GPU-8932", "cuda:0", "cuda:GPU-8932"),
        ("MIG-a1b2", "cuda:0", "cuda:MIG-a1b2"),
    ],
)
def test_a_gpu_has_one_name_for_all(
    visible: str | None, device: str, named: str, nvidia_smi: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert physical_gpu(device) == named


def test_without_nvidia_smi_a_uuid_is_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert physical_gpu("cuda:0") == "cuda:GPU-1"


def test_workers_with_a_gpu_each_hold_limits_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EngineSpec("transformers", Path("model"), Perturbation(), device="cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)  # each sees one
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "NVIDIA H100")
    limits, held = [], []
    for entry in ("0", "1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", entry)
        limits += [each for each in accelerator.limits_of_this_machine() if "cuda" in each]
        held += accelerator._names(EngineConfig(), spec)
    assert limits == held == [f"accelerator:{socket.gethostname()}:cuda:{index}" for index in (0, 1)]
