"""Which GPUs each engine of this machine gets, and that its process sees no other."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flows.test_processes import job_of
from tests.flows.test_replicas import plan_of
from tests.patience import wait_for
from thickets.flows.config.run import EngineConfig, RunConfig
from thickets.flows.placement import accelerator, replicas
from thickets.flows.placement.engines import scoring_job
from thickets.flows.placement.replicas import known_replicas, local_environments, local_replicas
from thickets.flows.placement.seats import seat_environment, seats
from thickets.storage.errors import InputError
from thickets.tasks.engines import EngineSpec, VllmOptions
from thickets.tasks.noise import Perturbation
from thickets.tasks.scoring.executors.processes import ProcessExecutor
from thickets.tasks.scoring.units import Shard
from thickets.tasks.types import Candidate

MakeConfig = Callable[..., RunConfig]
EIGHT = ["NVIDIA H100"] * 8
SPEC = EngineSpec("vllm", Path("model"), Perturbation(), device="cuda", card="NVIDIA H100")


@pytest.mark.parametrize(
    ("cards", "engine", "spec", "expected"),
    [
        (EIGHT, {}, {}, [(gpu,) for gpu in range(8)]),
        (EIGHT, {"replicas": 1}, {}, [(0,)]),
        (EIGHT, {}, {"vllm": VllmOptions(tensor_parallel=4)}, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        (EIGHT[:7], {}, {"vllm": VllmOptions(tensor_parallel=2)}, [(0, 1), (2, 3), (4, 5)]),
        (EIGHT, {}, {"kind": "transformers", "vllm": VllmOptions(tensor_parallel=4)}, [(gpu,) for gpu in range(8)]),
        (EIGHT, {}, {"kind": "transformers", "device": "cuda:3"}, [(3,)]),
        # The second engine is on the second card, not on the first one's.
        (EIGHT[:2], {"per_device": 2}, {}, [(0,), (1,), (0,), (1,)]),
        (EIGHT[:2], {"per_device": 2, "replicas": 3}, {}, [(0,), (1,), (0,)]),
        (EIGHT, {"per_device": 2}, {"kind": "transformers", "device": "cuda:3"}, [(3,), (3,)]),
        (["NVIDIA H100", "NVIDIA T4", "NVIDIA H100"], {}, {}, [(0,), (2,)]),
        (["NVIDIA T4", "NVIDIA H100", "NVIDIA H100"], {}, {"vllm": VllmOptions(tensor_parallel=2)}, [(1, 2)]),
    ],
)
def test_every_card_of_the_runs_kind_has_an_engine(
    cards: Sequence[str], engine: dict[str, Any], spec: dict[str, Any], expected: list[tuple[int, ...]]
) -> None:
    assert list(seats(cards, EngineConfig(**engine), replace(SPEC, **spec))) == expected


@pytest.mark.parametrize(
    ("engine", "spec", "message"),
    [
        ({"replicas": 9}, {}, r"replicas is 9, but there is room for 8 here: 8 GPUs \(8 NVIDIA H100\), 1 for each"),
        ({"replicas": 2}, {"kind": "transformers", "device": "cuda:3"}, "replicas is 2, but there is room for 1 here"),
        ({}, {"vllm": VllmOptions(tensor_parallel=16)}, r"tensor_parallel is 16, but there are 8 GPUs here \(8 NVID"),
        ({}, {"card": "NVIDIA T4"}, r"tensor_parallel is 1, but there are 0 GPUs here \(none\)"),
    ],
)
def test_more_than_there_is_is_refused(engine: dict[str, Any], spec: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        seats(EIGHT, EngineConfig(**engine), replace(SPEC, **spec))


def test_an_engine_sees_its_gpus_by_the_name_that_this_process_has_for_them() -> None:
    assert seat_environment((1, 2), 12, {}) == {"CUDA_VISIBLE_DEVICES": "1,2", "OMP_NUM_THREADS": "12"}
    ours = {"CUDA_VISIBLE_DEVICES": "6, GPU-8932", "OMP_NUM_THREADS": "3"}
    assert seat_environment((1,), 0, ours) == {"CUDA_VISIBLE_DEVICES": "GPU-8932", "OMP_NUM_THREADS": "3"}
    assert seat_environment((0,), 0, {"CUDA_VISIBLE_DEVICES": "6"})["OMP_NUM_THREADS"] == "1"


def test_on_cuda_no_engine_is_in_the_runs_own_process(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "visible_cards", lambda: ("NVIDIA H100",) * 2)
    monkeypatch.setattr(replicas, "usable_cores", lambda: 16)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    engine = {"kind": "transformers", "per_device": 2}
    plan = plan_of(config(engine=engine), device="cuda", card="NVIDIA H100", threads=None)
    assert local_replicas(plan) == known_replicas(plan) == 4
    assert [each["CUDA_VISIBLE_DEVICES"] for each in local_environments(plan)] == ["0", "1", "0", "1"]
    assert {each["OMP_NUM_THREADS"] for each in local_environments(plan)} == {"4"}
    job = scoring_job(replace(plan, engine=replace(plan.engine, device="cuda:1")))
    assert (job.engine.device, job.engine.memory_share) == ("cuda", 0.5), "it sees one GPU, and plans with half of it"
    assert local_environments(plan_of(config())) == []
    with pytest.raises(InputError, match=r"engine\.per_device is 2, but the device is cpu"):
        local_replicas(plan_of(config(engine=engine)))


def test_a_run_holds_the_cards_that_its_engines_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "NVIDIA H100")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,3,1")

    def held(engine: EngineConfig, spec: EngineSpec = SPEC) -> list[str]:
        return [name.removeprefix(f"accelerator:{socket.gethostname()}:") for name in accelerator._names(engine, spec)]

    assert held(EngineConfig()) == ["cuda:7", "cuda:5", "cuda:3", "cuda:1"]
    assert held(EngineConfig(replicas=2)) == ["cuda:7", "cuda:5"]
    assert held(EngineConfig(per_device=2, replicas=2)) == ["cuda:7", "cuda:5"]
    assert held(EngineConfig(), replace(SPEC, kind="transformers", device="cuda:2")) == ["cuda:3"]
    assert held(EngineConfig(replicas=1), replace(SPEC, vllm=VllmOptions(tensor_parallel=2))) == ["cuda:7", "cuda:5"]
    assert held(EngineConfig(), replace(SPEC, device="cpu")) == ["cpu"]


@pytest.mark.slow
def test_real_engines_see_the_gpus_of_their_seats_and_so_does_the_one_that_replaces_another(
    config: MakeConfig,
) -> None:
    def visible(worker: str) -> str:
        return psutil.Process(int(worker.partition(":")[2])).environ()["CUDA_VISIBLE_DEVICES"]

    environments = [seat_environment((gpu,), 1, {"CUDA_VISIBLE_DEVICES": "4,6"}) for gpu in (0, 1)]
    job = job_of(config(engine={"kind": "transformers", "device": "cpu", "batch_size": 5}))
    executor = ProcessExecutor(job, replicas=2, environments=environments, unit_timeout_s=300)
    shards = [Shard("selection", block, (Candidate(seed, 0.1),)) for seed in (1, 2) for block in range(3)]
    try:
        with ThreadPoolExecutor(len(shards)) as callers:
            list(callers.map(executor.score, shards))
        wait_for(lambda: all(engine.is_ready for engine in executor._pool))
        names = [engine.name for engine in executor._pool]
        assert [visible(name) for name in names] == ["4", "6"]
        second = list(executor._pool)[1]
        os.kill(int(names[1].partition(":")[2]), 9)
        wait_for(lambda: not second.is_ready)
        with ThreadPoolExecutor(len(shards)) as callers:
            list(callers.map(executor.score, [replace(shard, candidates=(Candidate(9, 0.1),)) for shard in shards[:3]]))
        wait_for(lambda: second.is_ready)
        assert second.name != names[1]
        assert visible(second.name) == "6"
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ({"per_device": 2, "device": "cpu"}, "engine.per_device is 2, but engine.device is cpu"),
        ({"per_device": 2, "vllm": {"tensor_parallel": 2}}, "engine.per_device is 2 and engine.vllm.tensor_parallel 2"),
    ],
)
def test_engines_share_a_card_only_where_that_means_something(engine: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EngineConfig.model_validate(engine)
