"""`thickets doctor` tells what is here, tests the engine, and ends with 1 where something is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.flows.command_line import Result, refused
from thickets.flows.doctor.machine import _toolchain
from thickets.storage.errors import InputError
from thickets.tasks.engines.gpus import GpuFacts

Command = Callable[..., Result]
LOST = GpuFacts("550.54.15", ("NVIDIA L40S",), 0, "2.13.0+cu130", "13.0")


@pytest.fixture
def configured(tiny_model: Path, tmp_path: Path) -> Path:
    file = tmp_path / "my.yaml"
    engine = {"kind": "transformers", "device": "cpu"}
    noise = {"exclude": ["*norm*"]}
    values = {"model": str(tiny_model), "problem": "largest_number", "engine": engine, "noise": noise}
    file.write_text(yaml.safe_dump(values))
    return file


def test_a_configuration_s_engine_is_chosen_and_tested(thickets: Command, configured: Path) -> None:
    status, out, err = thickets("doctor", str(configured), "--json")
    found = json.loads(out)
    assert status == 0, err
    assert found["problems"] == []
    assert found["machine"]["libraries"].keys() >= {"torch", "transformers", "prefect", "mlflow", "numba"}
    assert found["choice"] | {"model": "", "why": {}} == {
        **{"model": "", "engine": "transformers", "device": "cpu", "dtype": "float32", "why": {}}
    }
    assert found["choice"]["why"]["engine"] == "as configured"
    assert found["choice"]["why"]["dtype"] == "the checkpoint's"
    assert found["self_test"]["n_tensors"] == 20
    assert found["self_test"]["n_changed"] == 15  # noise.exclude


def test_it_says_why_auto_is_what_it_is(thickets: Command, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda device_type: False)
    status, out, _ = thickets("doctor", "--model", str(tiny_model), "--no-self-test")
    assert status == 0
    assert "engine          transformers: " in out
    assert "PyTorch sees no GPU here" in out
    assert "nothing is broken" in out
    assert "self-test" not in out


def test_an_engine_that_does_not_hold_its_candidates_is_broken(
    thickets: Command, configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thickets.tasks.engines.transformers.kernel_faults", lambda *_: ["noise is wrong"])
    status, out, _ = thickets("doctor", str(configured))
    assert status == 1
    assert "broken: the engine's self-test failed: noise is wrong" in " ".join(out.split())


def test_an_engine_that_cannot_be_started_is_broken(thickets: Command, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    for path in tiny_model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "tokenizer.json").write_text("{}")
    status, out, _ = thickets("doctor", "--model", str(folder))
    assert status == 1
    assert "broken: the engine cannot be started" in " ".join(out.split())


def test_a_gpu_that_is_not_used_is_broken(thickets: Command, configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.flows.doctor.machine.gpu_facts", lambda: LOST)
    status, out, _ = thickets("doctor", str(configured), "--no-self-test", "--json")
    found = json.loads(out)
    assert status == 1
    assert found["machine"]["driver"] == "550.54.15"
    assert ["driver 550.54.15 shows NVIDIA L40S" in line for line in found["problems"]] == [True]


def test_without_a_model_it_says_that_none_was_tested(thickets: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise InputError("it comes in a wheel")

    monkeypatch.setattr("thickets.flows.doctor.examine.resolve_model", missing)
    status, out, _ = thickets("doctor")
    assert status == 0
    assert "warning: no engine was tested: it comes in a wheel" in out


def test_bad_input_is_one_line(thickets: Command, tmp_path: Path) -> None:
    assert "--set" in refused(thickets("doctor", "--set", "engine.device=cpu"))
    assert refused(thickets("doctor", "--model", str(tmp_path))).startswith("model: ")


def test_what_starts_kernels_on_a_gpu_is_looked_for(tmp_path: Path) -> None:
    assert _toolchain(False, None, tmp_path) == []
    compiler, headers = _toolchain(True, None, tmp_path)
    assert "gcc" in compiler
    assert "python3-dev" in headers
    (tmp_path / "Python.h").touch()
    assert _toolchain(True, "gcc", tmp_path) == []
