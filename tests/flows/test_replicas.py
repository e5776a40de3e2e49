"""How many engines a run gets, and what that makes of an estimate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.placement import replicas
from thickets.flows.placement.description import describe_engine
from thickets.flows.placement.engines import unit_timeout_s
from thickets.flows.placement.replicas import engine_bytes, engine_of_several, known_replicas, local_replicas
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.search.estimate import estimate
from thickets.storage.errors import InputError
from thickets.storage.models.base import resolve_model
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits

MakeConfig = Callable[..., RunConfig]
ENGINE = {"kind": "transformers", "device": "cpu", "batch_size": 5}


def plan_of(config: RunConfig, **engine: object) -> RunPlan:
    base, problem, data = resolve_model(config.model), load_problem(config.problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    plan = make_plan(config, base, problem, splits)
    return replace(plan, engine=replace(plan.engine, **engine))


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, memory_bytes: int) -> None:
    monkeypatch.setattr(replicas, "usable_cores", lambda: cores)
    monkeypatch.setattr(replicas, "usable_memory_bytes", lambda: memory_bytes)


def test_left_empty_it_is_as_many_vllm_engines_as_cores_and_memory_take(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = config(population={"size": 300, "sigmas": [0.1]})
    plan = plan_of(large, kind="vllm")
    machine(monkeypatch, cores=4, memory_bytes=1 << 40)
    assert local_replicas(plan) == 4
    two_each = large.engine.model_copy(update={"cpus": 2})
    assert local_replicas(replace(plan, config=large.model_copy(update={"engine": two_each}))) == 2
    assert local_replicas(replace(plan, engine=replace(plan.engine, threads=4))) is None, "one engine was given four"
    assert local_replicas(plan_of(large)) is None, "not known to be better"
    assert local_replicas(plan_of(config(), kind="vllm")) is None, "too little to score"
    machine(monkeypatch, cores=4, memory_bytes=int(3.1 * engine_bytes(plan) / 0.7))
    assert local_replicas(plan) == 3
    machine(monkeypatch, cores=1, memory_bytes=1 << 40)
    assert local_replicas(plan) is None


def test_a_number_that_is_given_is_kept_where_the_device_takes_it(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cores=2, memory_bytes=0)
    three = config(engine={**ENGINE, "replicas": 3})
    assert local_replicas(plan_of(three)) == 3
    [warning] = describe_engine(plan_of(three)).warnings
    assert warning.startswith("3 engines of 1 threads share 2 cores")
    assert str(describe_engine(plan_of(three))).startswith("3 engines of 1 thread: transformers (torch 2")
    assert describe_engine(plan_of(config(engine={**ENGINE, "replicas": 2}))).warnings == ()
    with pytest.raises(InputError, match=r"engine\.replicas is 3, but the device is mps, which takes one engine"):
        local_replicas(plan_of(three, device="mps"))
    assert engine_of_several(plan_of(three)).threads == 1
    assert engine_of_several(plan_of(config(engine={**ENGINE, "threads": 3}))).threads == 3
    on_ray = config(engine={**ENGINE, "executor": "ray", "replicas": 5})
    assert known_replicas(plan_of(on_ray)) == 5


def test_an_estimate_shares_the_time_out_among_the_engines(config: MakeConfig) -> None:
    before = torch.get_num_threads()
    found = estimate(config(engine={**ENGINE, "replicas": 2, "cpus": 3}))
    assert torch.get_num_threads() == before
    assert found.n_engines == 2
    n_blocks = {"selection": 3, "validation": 2, "test": 3}
    n_questions = {"selection": 12, "validation": 10, "test": 14}
    n_loads = sum(found.completions[split] / n_questions[split] * n_blocks[split] for split in n_blocks)
    answer_s = found.probe.generate_s / found.probe.n_examples
    alone_s = n_loads * found.probe.load_s + sum(found.completions.values()) * answer_s
    assert found.seconds == pytest.approx(alone_s / 2)


def test_a_unit_may_take_half_an_hour_or_what_its_tokens_take_at_a_snails_pace(config: MakeConfig) -> None:
    assert unit_timeout_s(plan_of(config())) == 1800
    plan = plan_of(config(scoring={"examples_per_block": 5}))
    long = replace(plan, sampling=replace(plan.sampling, max_tokens=20_000))
    assert unit_timeout_s(long) == 5 * 20_000 / 10
    assert unit_timeout_s(plan_of(config(scoring={"unit_timeout_s": 7.5}))) == 7.5
    with pytest.raises(InputError, match="unit_timeout_s"):
        parse_config({"problem": "largest_number", "scoring": {"unit_timeout_s": 0}})


def test_a_type_that_is_only_emulated_is_warned_of(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.tasks.engines.dtypes.cpu_capabilities", lambda: {"avx2": True})
    plan = plan_of(config())
    assert describe_engine(plan).warnings == ()
    [warning] = describe_engine(replace(plan, engine=replace(plan.engine, dtype="bfloat16"))).warnings
    assert warning.startswith("engine.dtype: bfloat16 is emulated on this processor")
    assert (
        describe_engine(replace(plan, engine=replace(plan.engine, dtype="bfloat16"))).tags["thickets.dtype"]
        == "bfloat16"
    )
