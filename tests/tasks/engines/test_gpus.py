"""GPUs that are there and not used are told of, with the remedy; what a driver shows is read without its library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from thickets.tasks.engines.compiler import c_compiler
from thickets.tasks.engines.gpus import GpuFacts, _of_proc, _of_smi, gpu_facts, unused_gpus

WELL = GpuFacts("580.65.06", ("NVIDIA H100 80GB HBM3",) * 8, 8, "2.13.0+cu130", "13.0")
LOST = replace(WELL, n_usable=0)
# The two files of a machine with driver 550, as its kernel module writes them.
VERSION = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs-builder)
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
INFORMATION = "Model: \t\t NVIDIA L40S\nIRQ:   \t\t 190\nGPU UUID: \t GPU-8b0c3c1e-0000-0000-0000-000000000000\n"


@pytest.mark.parametrize(
    "facts",
    [
        WELL,
        replace(WELL, n_usable=1, visible="3"),
        replace(LOST, visible=""),  # hidden on purpose
        replace(LOST, visible="-1"),
        replace(LOST, driver=None, cards=()),
    ],
)
def test_nothing_is_said_where_all_is_well_or_meant(facts: GpuFacts) -> None:
    assert unused_gpus(facts) is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (replace(LOST, torch="2.13.0+cpu", cuda=None), ("a build without CUDA", "make setup-gpu")),
        (replace(LOST, driver="550.54.15"), ("driver 550.54.15", "CUDA 13.0", "needs driver 580 or newer")),
        (replace(LOST, driver="550.54.15", cuda="12.8", reason="no permission"), ("(no permission)", "--gpus all")),
        (LOST, ("8 x NVIDIA H100 80GB HBM3", "nvidia-smi")),
        (replace(LOST, driver=None, cards=("NVIDIA GPU",)), ("unknown version", "shows NVIDIA GPU,")),
    ],
)
def test_a_gpu_that_is_not_used_comes_with_the_remedy(facts: GpuFacts, words: tuple[str, ...]) -> None:
    line = unused_gpus(facts)
    assert line is not None
    assert "\n" not in line
    assert [word for word in words if word not in line] == []


def test_the_kernel_module_s_files_are_read(tmp_path: Path) -> None:
    assert _of_proc(tmp_path) is None
    gpus = tmp_path / "proc/driver/nvidia/gpus"
    for place in ("0000:01:00.0", "0000:02:00.0"):
        (gpus / place).mkdir(parents=True)
        (gpus / place / "information").write_text(INFORMATION)
    (gpus.parent / "version").write_text(VERSION)
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    # A container may show a device file without its description.
    assert _of_proc(tmp_path) == ("550.54.15", ("NVIDIA L40S", "NVIDIA L40S", "NVIDIA GPU"))


def test_nvidia_smi_is_asked_where_there_is_no_such_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert _of_smi() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '581.29, NVIDIA GeForce RTX 4090\\n581.29, NVIDIA L40S\\n'\n")
    program.chmod(0o755)
    assert _of_smi() == ("581.29", ("NVIDIA GeForce RTX 4090", "NVIDIA L40S"))


def test_this_machine_is_looked_at_without_an_error() -> None:
    facts = gpu_facts()
    assert facts.torch
    assert facts.n_usable <= max(len(facts.cards), facts.n_usable)


def test_the_compiler_is_the_one_triton_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert c_compiler() is None
    for name in ("clang", "gcc"):
        (tmp_path / name).touch(mode=0o755)
        assert c_compiler() == str(tmp_path / name)
    monkeypatch.setenv("CC", "my-cc")
    assert c_compiler() == "my-cc"
