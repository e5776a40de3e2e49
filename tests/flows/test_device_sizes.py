"""What a configuration leaves to the device: sizes of blocks and batches, and what a GPU is warned of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from thickets.flows.config.file import load_config
from thickets.flows.config.run import RunConfig
from thickets.flows.config.sizes import batch_size, examples_per_block
from thickets.flows.placement.description import float32_on_gpu
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.search.smaller_batch import BatchTooLargeError, watch_first_batch, with_smaller_batch
from thickets.storage.errors import InputError, OutOfMemoryError
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits

MakeConfig = Callable[..., RunConfig]


def on(device: str, kind: str = "vllm") -> Callable[[EngineSpec], EngineSpec]:
    """What such a machine would make of the configuration."""
    return lambda spec: replace(spec, kind=kind, device=device, dtype="float32")


def planned(config: RunConfig, resolve: Callable[[EngineSpec], EngineSpec]) -> RunPlan:
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=data.seed)
    return make_plan(config, find_base_model(config.model), problem, splits, resolve)


@pytest.mark.parametrize(
    ("device", "data", "sections", "expected"),
    [
        ("cpu", {}, {}, (256, 64)),
        ("mps", {}, {}, (256, 64)),
        ("cuda:1", {}, {}, (1024, 14)),
        ("cuda", {"test": 1319}, {}, (1024, 1024)),
        ("cuda", {"selection": 300, "test": 200}, {}, (1024, 300)),
        ("cuda", {"selection": 300}, {"scoring": {"examples_per_block": 50}}, (50, 50)),
        ("cuda", {"selection": 5000}, {"scoring": {"examples_per_block": 4000}}, (4000, 1024)),
        ("cuda", {}, {"engine": {"batch_size": 7}}, (1024, 7)),
        ("cpu", {"test": 1319}, {"engine": {"batch_size": 7}}, (256, 7)),
    ],
    ids=str,
)
def test_sizes_that_are_left_empty_follow_from_the_device(
    config: MakeConfig, device: str, data: dict[str, int], sections: dict[str, Any], expected: tuple[int, int]
) -> None:
    sizes = {"data": {"selection": 12, "validation": 10, "test": 14} | data, "engine": {}, "scoring": {}}
    run = config(**sizes | sections)
    assert (examples_per_block(run, device), batch_size(run, device)) == expected


def test_the_identity_holds_numbers_and_on_the_cpu_those_of_before(config: MakeConfig) -> None:
    empty, before = (
        {"engine": {}, "scoring": {}},
        {"engine": {"batch_size": 64}, "scoring": {"examples_per_block": 256}},
    )
    found, as_before = (planned(config(**sections), on("cpu", "transformers")) for sections in (empty, before))
    assert (found.identity["engine"]["batch_size"], found.identity["examples_per_block"]) == (64, 256)
    assert (found.fingerprint, found.run_id) == (as_before.fingerprint, as_before.run_id)
    on_cuda = planned(config(**empty), on("cuda"))
    assert (on_cuda.identity["engine"]["batch_size"], on_cuda.identity["examples_per_block"]) == (14, 1024)
    assert on_cuda.engine.batch_size == 14


def test_a_race_of_one_block_is_refused_where_the_device_makes_it_one(config: MakeConfig) -> None:
    raced = config(
        data={"selection": 300, "validation": 10, "test": 14}, scoring={"racing": {}}, controls={"best_prompt": False}
    )
    assert planned(raced, on("cpu", "transformers")).block_sizes("selection") == [256, 44]
    with pytest.raises(InputError, match=r"examples_per_block is empty, here 1024, and data\.selection 300"):
        planned(raced, on("cuda"))


def test_the_papers_preset_has_the_sizes_of_a_gpu() -> None:
    preset = load_config("gsm8k")
    assert (preset.engine.batch_size, preset.scoring.examples_per_block, preset.scoring.racing) == (1024, 1024, None)


def test_memory_that_runs_out_halves_no_batch_of_vllm_on_a_gpu(config: MakeConfig) -> None:
    run = config(engine={"batch_size": 64})
    for device, kind, halves in (("cuda", "vllm", False), ("cuda", "transformers", True), ("cpu", "vllm", True)):
        with pytest.raises(OutOfMemoryError, match="full") as error, watch_first_batch(planned(run, on(device, kind))):
            raise OutOfMemoryError("full")
        assert isinstance(error.value, BatchTooLargeError) is halves


def test_a_batch_that_was_left_to_the_device_is_halved_too(config: MakeConfig) -> None:
    run = config(engine={})
    with pytest.raises(BatchTooLargeError) as error, watch_first_batch(planned(run, on("cpu", "transformers"))):
        raise OutOfMemoryError("full")
    assert with_smaller_batch(run, error.value).engine.batch_size == 32


def test_float32_on_a_gpu_is_warned_of_where_the_checkpoint_chose_it(config: MakeConfig) -> None:
    on_gpu = planned(config(engine={}), on("cuda"))
    assert "set engine.dtype: bfloat16" in (float32_on_gpu(on_gpu) or "")
    chosen = planned(config(engine={"dtype": "float32"}), on("cuda"))
    half = replace(on_gpu, engine=replace(on_gpu.engine, dtype="bfloat16"))
    assert [float32_on_gpu(plan) for plan in (chosen, half, planned(config(engine={}), on("cpu")))] == [None] * 3
