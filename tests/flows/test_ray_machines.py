"""What a run asks of a Ray cluster whose GPU, a pretended one, another run's actor holds; and what engines are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.flows.test_processes import job_of
from tests.patience import no_hang
from tests.tasks.test_distillation_child import job_of as job_of_training
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError, RunError
from thickets.tasks.distillation.jobs import PerplexityJob
from thickets.tasks.engines import EngineSpec
from thickets.tasks.noise import Perturbation
from thickets.tasks.scoring.executors import ray_machines
from thickets.tasks.scoring.executors.ray_environment import ray_environment
from thickets.tasks.scoring.executors.ray_machines import GpuMachine, ask_gpu_machines, gpu_holders

ray = pytest.importorskip("ray")

from thickets.tasks.distillation.ray_child import run_on_ray  # noqa: E402
from thickets.tasks.scoring.executors.ray_cluster import RayCluster, connect  # noqa: E402
from thickets.tasks.scoring.executors.ray_pool import RayExecutor  # noqa: E402

SPEC = EngineSpec("transformers", Path("model"), Perturbation(), device="cuda")


class Holder:
    """An engine of another run, as Ray sees it."""

    def answers(self) -> bool:
        return True


@pytest.fixture(scope="module")
def held() -> Iterator[RayCluster]:
    """A Ray of this machine with one pretended GPU, which an actor holds."""
    ray.init(
        address="local",
        num_cpus=1,
        num_gpus=1,
        include_dashboard=False,
        object_store_memory=100 * 1024**2,
        log_to_driver=False,
    )
    try:
        holder = ray.remote(Holder).options(num_cpus=0, num_gpus=1).remote()
        assert ray.get(holder.answers.remote())
        yield replace(connect(None), is_local=True)
    finally:
        ray.shutdown()


@pytest.mark.slow
def test_a_spec_is_resolved_while_every_gpu_is_held(held: RayCluster, tiny_model: Path) -> None:
    assert (held.device, held.gpus) == ("cuda", (1,))
    spec = replace(SPEC, model_path=tiny_model, device="auto")
    # The machine's own answer, in the end: the GPU is pretended, and PyTorch says so.
    with pytest.raises(InputError, match=r"on \S+: engine\.device: 'cuda' was asked for, but PyTorch sees no CUDA"):
        held.resolve(spec)


@pytest.mark.slow
def test_a_machine_that_does_not_answer_is_one_line_that_names_who_holds_the_gpus(
    held: RayCluster, tiny_model: Path
) -> None:
    assert gpu_holders().startswith("GPUs are held by Holder (process ")
    told = r"of the Ray cluster at \S+ did not answer within 0 s; GPUs are held by Holder"
    with no_hang(), pytest.raises(RunError, match=told):
        ask_gpu_machines(replace(SPEC, model_path=tiny_model), held.address, is_local=True, within_s=0.01)


@pytest.mark.slow
def test_engines_that_get_no_gpu_say_who_holds_it(
    held: RayCluster, config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    from thickets.tasks.scoring.units import Shard

    job = job_of(config(engine={"kind": "transformers", "device": "cpu", "batch_size": 5}))
    nobody = RayExecutor(held, replace(job, engine=replace(job.engine, device="cuda")), cpus=1, patience_s=2)
    try:
        with pytest.raises(RunError, match=r"none of 1 engines.* GPUs are held by Holder \(process \d+ on \S+\);"):
            nobody.score(Shard("selection", 0, (None,)))
    finally:
        nobody.close()


def test_the_machines_are_asked_once(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    cluster = RayCluster("head:1", is_local=False, is_ours=False, gpus=(8, 0, 4), cpus=(96, 8, 32))
    spec = replace(SPEC, model_path=tiny_model, max_length=256)
    found = GpuMachine("gpu1", replace(spec, kind="vllm", dtype="bfloat16", card="NVIDIA H100"), ("NVIDIA H100",), 1)
    answers = iter([found])  # a second question would end the test
    monkeypatch.setattr("thickets.tasks.scoring.executors.ray_cluster.ask_gpu_machines", lambda *_, **__: next(answers))
    resolved = cluster.resolve(replace(spec, device="auto"))
    assert resolved == replace(spec, kind="vllm", dtype="bfloat16", card="NVIDIA H100")
    # The learned limit's plan: everything but the room is the same.
    assert cluster.resolve(replace(spec, max_length=512)).max_length == 512
    assert cluster.cores_per_gpu == 8


def test_a_cluster_of_different_gpus_or_libraries_is_refused() -> None:
    vllm = replace(SPEC, kind="vllm", dtype="bfloat16")
    one = GpuMachine("gpu1", vllm, ("NVIDIA A100", "NVIDIA A100"), 40)
    assert ray_machines._the_same("head:1", [one, replace(one, host="gpu2", memory_bytes=39)]).memory_bytes == 39
    with pytest.raises(InputError, match=r"differ \(NVIDIA A100 on gpu1; NVIDIA H100 on gpu2\), and so may their"):
        ray_machines._the_same("head:1", [one, replace(one, host="gpu2", cards=("NVIDIA H100",))])
    slow = replace(one, host="gpu2", engine=replace(vllm, kind="transformers"))
    with pytest.raises(InputError, match=r"\(transformers in bfloat16 on gpu2; vllm in bfloat16 on gpu1\)"):
        ray_machines._the_same("head:1", [one, slow])


def test_caches_and_threads_reach_the_engines_and_paths_only_those_of_this_machine() -> None:
    ours = {"HF_HOME": "/data/hf", "VLLM_CACHE_ROOT": "/data/vllm", "TRITON_CACHE_DIR": "/data/t", "HF_TOKEN": "secret"}
    passed = {name: value for name, value in ours.items() if name != "HF_TOKEN"}
    assert ray_environment(threads=12, is_local=False, ours=ours) == {**passed, "OMP_NUM_THREADS": "12"}
    assert set(ray_environment(threads=None, is_local=True, ours={})) == {"PYTHONPATH"}


def test_an_engine_refuses_another_card(config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(config(engine={"kind": "transformers", "device": "cpu", "batch_size": 5}))
    on_card = replace(job, identity={**job.identity, "engine": {**job.identity["engine"], "card": "NVIDIA H100"}})
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA A100")
    with pytest.raises(InputError, match=r"on gpu7: engine\.executor: the GPU is NVIDIA A100 here and NVIDIA H100 wh"):
        on_card.open_worker("gpu7", "gpu7:1")


@pytest.mark.slow
def test_a_student_waits_for_a_gpu_of_the_cluster_only_so_long(held: RayCluster, tiny_model: Path) -> None:
    job = PerplexityJob(tiny_model, None, "some words", "cpu", False)
    with pytest.raises(RunError, match=r"no GPU of the Ray cluster at \S+ became free within 1 s; GPUs are held by Ho"):
        run_on_ray(job, lambda point, loss: None, held, starts_within_s=1)


@pytest.mark.slow
def test_a_student_is_trained_on_the_cluster_as_it_is_here(held: RayCluster, tiny_model: Path, tmp_path: Path) -> None:
    there, here = (job_of_training(tiny_model, tmp_path / name) for name in ("there", "here"))
    steps: list[int] = []
    # Without a GPU, since the only one is held; the base is found by its name, whatever its path is here.
    found = run_on_ray(
        replace(there, base=Path("/nowhere")), lambda point, loss: steps.append(point.step), held, gpus=0
    )
    assert steps == [0, 3, 6]
    assert found.model_dump(exclude={"train_s"}) == here.run(lambda point, loss: None).model_dump(exclude={"train_s"})
    other = replace(there, base_name=replace(there.base_name, sha256="0" * 64))
    with pytest.raises(InputError, match=r"on \S+: model: .* where students are trained, but the run is about 0000"):
        run_on_ray(other, lambda point, loss: None, held, gpus=0)
