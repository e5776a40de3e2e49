"""Where students are trained, and that what cannot fit there is refused before the experts are asked anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.flows.test_replicas import plan_of
from thickets.flows.config.distillation import DistillationConfig
from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.place import Child, Here, OnCluster, choose_place, needs_checkpointing
from thickets.flows.distillation.plan import DistillPlan
from thickets.storage.errors import InputError
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.scoring.executors.ray_machines import GpuMachine

MakeConfig = Callable[..., RunConfig]
GIB = 1 << 30


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    properties = [SimpleNamespace(total_memory=index * GIB) for index in range(8)]
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: properties[index])


def test_on_the_cpu_it_is_this_process(config: MakeConfig) -> None:
    assert choose_place(plan_of(config()), None) == Here("cpu")


@pytest.mark.usefixtures("eight_gpus")
@pytest.mark.parametrize(("device", "gpu"), [("cuda", 0), ("cuda:0", 0), ("cuda:5", 5)])
def test_on_a_gpu_it_is_a_process_that_sees_the_one_that_was_asked_for(
    config: MakeConfig, device: str, gpu: int
) -> None:
    place = choose_place(plan_of(config(), device=device), None)
    assert place == Child(gpu, gpu * GIB)
    assert isinstance(place, Child)
    assert place.device == "cuda", "the only one that it sees"
    assert place.variables["CUDA_VISIBLE_DEVICES"] == str(gpu)


def test_on_a_cluster_it_is_the_clusters_gpus_and_never_this_machines_cpu(config: MakeConfig) -> None:
    cluster = RayCluster("head:1", is_local=False, is_ours=False, gpus=(8,), cpus=(64,))
    plan = plan_of(config(), device="cuda")
    asked = (plan.engine.kind, "cuda", plan.engine.dtype, plan.engine.model_path)
    cluster._machines[asked] = GpuMachine("gpu1", plan.engine, ("NVIDIA H100",), 80 * GIB)
    place = choose_place(plan, cluster)
    assert isinstance(place, OnCluster)
    assert (place.device, place.card_bytes) == ("cuda", 80 * GIB)


def distillation_of(config: RunConfig, **section: Any) -> DistillPlan:
    """A distillation of a run that is as large as a model of seven billion weights."""
    run = plan_of(config)
    run = replace(run, base=replace(run.base, n_parameters=7_000_000_000, size_bytes=14_000_000_000))
    nothing: Any = None
    return DistillPlan(run, nothing, DistillationConfig(**section), run.base, (), nothing, nothing, "1", nothing)


def test_what_cannot_fit_is_one_line_and_what_nearly_fits_is_made_to(config: MakeConfig) -> None:
    full = distillation_of(config(), method="full")
    with pytest.raises(InputError, match=r"training 7\.0 B weights by full .* GiB are there; set distillation\.method"):
        needs_checkpointing(full, Child(0, 80 * GIB))
    assert not needs_checkpointing(full, Here("cpu")), "the memory of this machine is not estimated"
    lora = distillation_of(config(), batch_size=4096)
    sizes = [gib for gib in range(10, 60) if _fits(lora, gib)]
    assert needs_checkpointing(lora, Child(0, sizes[0] * GIB))
    assert not needs_checkpointing(lora, Child(0, 200 * GIB))


def _fits(plan: DistillPlan, gib: int) -> bool:
    try:
        needs_checkpointing(plan, Child(0, gib * GIB))
    except InputError:
        return False
    return True
