"""Real Ray, several engines: the same scores as on one, also when an engine and then a whole machine is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.patience import no_hang, wait_for
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import scoring_job
from thickets.flows.plan import make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import Home
from thickets.storage.models.base import resolve_model
from thickets.storage.shards.file import list_shards
from thickets.storage.shards.folder import LocalShardFolder
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.units import Shard
from thickets.tasks.types import Candidate

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from thickets.tasks.scoring.executors import ray_pool  # noqa: E402
from thickets.tasks.scoring.executors.pool import RemoteEngineError  # noqa: E402
from thickets.tasks.scoring.executors.ray_cluster import connect  # noqa: E402
from thickets.tasks.scoring.executors.ray_pool import RayExecutor  # noqa: E402

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
ENGINE = {"kind": "transformers", "batch_size": 16}
SHARD = Shard("selection", 0, (Candidate(1, 0.1),))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes with one CPU each; the first is the head, where this process is connected."""
    node = {"num_cpus": 1, "object_store_memory": 100 * 1024**2}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.add_node(**node)
    yield made
    ray.shutdown()
    made.shutdown()


def job_of(config: RunConfig) -> ScoringJob:
    base, problem, data = resolve_model(config.model), load_problem(config.problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    return scoring_job(make_plan(config, base, problem, splits))


def outcome(summary: RunSummary) -> dict[str, Any]:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def rows(home: Path, summary: RunSummary) -> dict[str, pl.DataFrame]:
    with open_scores(Home(home), find_run(Home(home), summary.run_id)) as reader:
        return {
            "scores": reader.query("select * exclude (shard_id) from scores order by all"),
            "completions": reader.query("select * exclude (shard_id) from completions order by all"),
        }


def same_result(first: RunSummary, second: RunSummary, homes: tuple[Path, Path]) -> None:
    assert outcome(first) == outcome(second)
    assert (first.folder / "manifest.json").read_bytes() == (second.folder / "manifest.json").read_bytes()
    found = [rows(home, summary) for home, summary in zip(homes, (first, second), strict=True)]
    for table in ("scores", "completions"):
        assert found[0][table].height > 0
        assert found[0][table].equals(found[1][table]), table


def actors(parent: int) -> list[int]:
    """Processes of the scoring actors that a raylet has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"ray::ScoringActor" in title and int(after_name[1]) == parent:
            found.append(int(folder.name))
    return found


def raylet(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


@pytest.mark.slow
def test_errors_of_an_engine_elsewhere_come_back_as_they_are(
    cluster: Cluster, config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = job_of(config(engine={**ENGINE, "device": "cpu"}))
    connection = connect(cluster.address)
    try:
        other_model = RayExecutor(connection, replace(job, sha256="0" * 64), cpus=1)
        try:
            with pytest.raises(
                InputError,
                match=rf"on \S+: model: .* has the content hash {job.sha256} here, but the run is about 0000",
            ) as raised:
                other_model.score(SHARD)
            assert type(raised.value) is InputError
            # All CPUs are taken: these never start.
            nobody = RayExecutor(connection, job, cpus=1, patience_s=2)
            try:
                with pytest.raises(RunError, match=r"none of 2 engines.*2 of 2 nodes are left"):
                    nobody.score(SHARD)
            finally:
                nobody.close()
        finally:
            other_model.close()

        monkeypatch.setattr(ray_pool, "_VISIBLE_WITHIN_S", 0.5)
        own_disk = RayExecutor(connection, job, cpus=1, replicas=1)
        own_disk._folder = LocalShardFolder(tmp_path / "not" / "shared")
        try:
            with pytest.raises(RunError, match=r"storage\.shards: engine .*:\d+ has written shard selection-0000"):
                own_disk.score(SHARD)
            own_disk.cancel()
            with pytest.raises(RunError, match="cancelled"):
                own_disk.score(SHARD)
        finally:
            own_disk.close()
        with pytest.raises(InputError, match=r"engine\.cpus: an engine needs 2 CPU cores on one machine"):
            RayExecutor(connection, job, cpus=2)
        with pytest.raises(InputError, match=r"engine\.device: 'cuda' was asked for, but the Ray cluster at"):
            connection.resolve(replace(job.engine, device="cuda"))
    finally:
        connection.close()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_an_engine_that_hangs_is_killed_and_started_again(cluster: Cluster, config: MakeConfig) -> None:
    connection = connect(cluster.address)
    executor = RayExecutor(
        connection, job_of(config(engine={**ENGINE, "device": "cpu"})), cpus=1, replicas=1, unit_timeout_s=3600
    )
    try:
        first = executor.score(SHARD)
        pid = int(first.worker.partition(":")[2])
        os.kill(pid, signal.SIGSTOP)
        executor._unit_timeout_s = 0.5
        other = Shard("selection", 1, SHARD.candidates)
        with pytest.raises(RemoteEngineError, match=r"is lost: no sign of life for \d+ s; scoring\.unit_timeout_s"):
            executor.score(other)
        executor._unit_timeout_s = 3600
        assert executor.score(other).worker != first.worker
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    finally:
        executor.close()
        connection.close()


def test_a_wrong_address_is_one_error(config: MakeConfig) -> None:
    told = pytest.raises(InputError, match=r"engine\.address: there is no Ray cluster at 127\.0\.0\.1:1 ")
    with no_hang(), told:
        randopt(config(engine={**ENGINE, "executor": "ray", "address": "127.0.0.1:1"}))


def test_a_job_refuses_a_machine_that_would_answer_differently(config: MakeConfig) -> None:
    job = job_of(config(engine={**ENGINE, "device": "cpu"}))
    job.open_worker("gpu7", "gpu7:1").close()
    libraries = {"torch": "0.0.1"}
    old = replace(job, identity={**job.identity, "engine": {"libraries": libraries}})
    with pytest.raises(InputError, match=r"on gpu7: engine\.executor: torch is .* here and 0\.0\.1 where"):
        old.open_worker("gpu7", "gpu7:1")
    changed = replace(job, judgement={**job.judgement, "judge": {"name": "another"}})
    with pytest.raises(InputError, match=r"on gpu7: .* the judge is .*same version of thickets"):
        changed.open_worker("gpu7", "gpu7:1")
    with pytest.raises(InputError, match="on gpu7: model: there is no"):
        replace(job, model="nowhere").open_worker("gpu7", "gpu7:1")


@pytest.mark.slow
def test_an_engine_and_then_a_whole_node_are_lost(cluster: Cluster, config: MakeConfig, tmp_path: Path) -> None:
    homes = tmp_path / "undisturbed", tmp_path / "disturbed"
    sections: dict[str, Any] = {
        "data": {"selection": 60, "validation": 10, "test": 14},
        "population": {"size": 64, "sigmas": [0.05, 0.1, 0.2]},
        "decoding": {"max_tokens": 24},
        "scoring": {"examples_per_block": 15, "candidates_per_shard": 2},
    }
    n_shards = 33 * 4  # of the selection split: 65 with the base, in twos, on four blocks
    single = randopt(config(**sections, engine={**ENGINE, "device": "cpu"}, storage={"home": str(homes[0])}))

    folder = homes[1] / "shards" / single.fingerprint[:16]
    head, other = cluster.head_node, next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    at_kill: list[dict[Path, tuple[int, int]]] = []

    def stamps() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in list_shards(folder)}

    def wait_for_shards(n: int) -> None:
        wait_for(lambda: len(list_shards(folder)) >= n, every_s=0.005)
        at_kill.append(stamps())

    def disturb() -> None:
        wait_for_shards(n_shards * 2 // 5)
        [victim] = actors(raylet(head))
        os.kill(victim, signal.SIGKILL)
        wait_for_shards(n_shards * 3 // 5)
        cluster.remove_node(other, allow_graceful=False)

    engine = {**ENGINE, "executor": "ray", "address": cluster.address}
    with ThreadPoolExecutor(1) as pool:
        disturbance = pool.submit(disturb)
        many = randopt(config(**sections, engine=engine, storage={"home": str(homes[1])}))
        disturbance.result()

    assert [0 < len(before) < n_shards for before in at_kill] == [True, True]
    assert len(at_kill[1]) > len(at_kill[0])
    same_result(single, many, homes)
    after = stamps()
    for before in at_kill:
        assert {path: after[path] for path in before} == before, "a finished shard was written again"
    scored = pl.concat([pl.read_parquet(path) for path in after]).select("candidate_id", "split", "example_id")
    assert not scored.is_duplicated().any(), "something was scored twice"


# The last one: a Ray that this process starts asks for tokens from then on, which the cluster above knows nothing of.
@pytest.mark.slow
def test_a_local_ray_finds_what_a_single_process_finds(config: MakeConfig, tmp_path: Path) -> None:
    homes = tmp_path / "one", tmp_path / "many"
    single = randopt(config(engine={**ENGINE, "device": "cpu"}, storage={"home": str(homes[0])}))
    shared = tmp_path / "shared"
    many = randopt(
        config(
            engine={**ENGINE, "executor": "ray", "replicas": 1},
            storage={"home": str(homes[1]), "shards": str(shared)},
        )
    )
    same_result(single, many, homes)
    assert many.engine.n_engines == 1
    assert not (homes[1] / "shards").exists(), "shards belong into storage.shards"
    assert list_shards(shared / many.fingerprint[:16])
    assert not ray.is_initialized()
