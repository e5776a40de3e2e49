"""Engines in processes of their own: the same scores as in one, whatever happens to a process, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest
from prefect.settings import PREFECT_API_URL

from tests.patience import PATIENCE_S, wait_for
from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import scoring_job
from thickets.flows.plan import make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError, RunError
from thickets.storage.models.base import resolve_model
from thickets.storage.shards.file import list_shards
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.pool import RemoteEngineError
from thickets.tasks.scoring.executors.processes import ProcessExecutor
from thickets.tasks.scoring.units import Shard, UnitReport
from thickets.tasks.types import Candidate

MakeConfig = Callable[..., RunConfig]
ROOT = Path(__file__).parents[2]
ENGINE = {"kind": "transformers", "device": "cpu", "batch_size": 5}


def job_of(config: RunConfig) -> ScoringJob:
    base, problem, data = resolve_model(config.model), load_problem(config.problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    return scoring_job(make_plan(config, base, problem, splits))


def stamps(home: Path) -> dict[Path, tuple[int, int]]:
    """Finished shards: when each was written, and as which file."""
    found = {path: path.stat() for folder in (home / "shards").glob("*") for path in list_shards(folder)}
    return {path: (stat.st_mtime_ns, stat.st_ino) for path, stat in found.items()}


def contents(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stamps(home)}


def rows(home: Path) -> pl.DataFrame:
    """Every completion. Files differ: the more engines there are, the smaller is what is cut for the end of a stage."""
    return pl.concat([pl.read_parquet(path) for path in stamps(home)]).sort(pl.all())


def engines(of: int) -> list[psutil.Process]:
    """The engines of a process that are alive."""
    return [
        child
        for child in psutil.Process(of).children()
        if child.status() != psutil.STATUS_ZOMBIE and "thickets.tasks.scoring.executors.engine_main" in child.cmdline()
    ]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_two_processes_one_of_them_killed_write_what_one_engine_writes(config: MakeConfig, tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("one", "two")}
    population = {"size": 24, "sigmas": [0.05, 0.1, 0.2]}

    def run(name: str, **engine: int) -> RunSummary:
        return randopt(
            config(
                population=population, engine={**ENGINE, **engine}, storage={"home": str(homes[name])}, controls=NONE
            )
        )

    one = run("one", threads=2)
    at_kill: list[dict[Path, tuple[int, int]]] = []

    def kill_one() -> None:
        wait_for(lambda: len(stamps(homes["two"])) >= 10)
        at_kill.append(stamps(homes["two"]))
        engines(os.getpid())[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    two = run("two", replicas=2)
    killer.join()

    assert (one.engine.n_engines, two.engine.n_engines) == (1, 2)
    assert one.fingerprint == two.fingerprint
    assert rows(homes["one"]).equals(rows(homes["two"]))
    assert len(stamps(homes["one"])) < len(stamps(homes["two"]))
    assert (one.folder / "manifest.json").read_bytes() == (two.folder / "manifest.json").read_bytes()
    assert one.evaluation == two.evaluation
    after = stamps(homes["two"])
    assert {path: after[path] for path in at_kill[0]} == at_kill[0], "a finished shard was written again"
    assert engines(os.getpid()) == []


NONE = dict.fromkeys(("self_consistency", "random_experts", "weight_average", "best_prompt", "chance"), False)


def test_an_engine_that_hangs_is_replaced_and_a_cancelled_one_is_gone(config: MakeConfig, tmp_path: Path) -> None:
    shards = [Shard("selection", block, (Candidate(1, 0.1), Candidate(2, 0.1))) for block in range(3)]
    told: list[UnitReport] = []
    executor = ProcessExecutor(
        job_of(config(engine=ENGINE)), replicas=2, unit_timeout_s=PATIENCE_S, on_unit=told.append
    )
    try:
        report = executor.score(shards[0])
        assert list(report.units) == told
        assert [unit.start_s > 0 for unit in told] == [True, False]
        [engine] = engines(os.getpid())  # one shard, one engine
        assert report.worker == f"local:{engine.pid}"

        engine.suspend()
        executor._unit_timeout_s = 0.5
        with ThreadPoolExecutor(1) as caller:
            scoring = caller.submit(executor.score, shards[1])
            try:
                with pytest.raises(RemoteEngineError, match=r"no sign of life for \d+ s; scoring\.unit_timeout_s"):
                    scoring.result(PATIENCE_S)
            finally:
                if not scoring.done():
                    executor.cancel()
        assert not engine.is_running()
        executor._unit_timeout_s = PATIENCE_S
        assert executor.score(shards[1]).worker != report.worker
        worker = job_of(config(engine=ENGINE, storage={"home": str(tmp_path / "one")})).open_worker("here", "one")
        for shard in shards[:2]:
            worker.score(shard)
        worker.close()
        assert contents(tmp_path / "home") == contents(tmp_path / "one") != {}, "as one engine in this process does"

        [engine] = engines(os.getpid())
        engine.suspend()
        with ThreadPoolExecutor(1) as caller:
            scoring = caller.submit(executor.score, shards[2])
            wait_for(lambda: any(engine.n_under_way for engine in executor._pool))
            executor.cancel()
            with pytest.raises(RunError, match="cancelled"):
                scoring.result(PATIENCE_S)
    finally:
        executor.close()
    assert engines(os.getpid()) == []
    with pytest.raises(RunError, match="cancelled"):
        executor.score(shards[2])


def test_our_own_errors_cross_the_border_as_they_are(config: MakeConfig) -> None:
    executor = ProcessExecutor(
        replace(job_of(config(engine=ENGINE)), sha256="0" * 64), replicas=2, unit_timeout_s=PATIENCE_S
    )
    try:
        with pytest.raises(InputError, match=r"has the content hash \w+ here, but the run is about 0000") as raised:
            executor.score(Shard("selection", 0, (None,)))
        assert type(raised.value) is InputError
    finally:
        executor.close()


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.slow
def test_no_engine_outlives_its_run_however_that_ends(config: MakeConfig, tmp_path: Path) -> None:
    """SIGKILL with one engine stopped, and Ctrl-C; then the run goes on to the result of an undisturbed one."""
    homes = {name: tmp_path / name for name in ("undisturbed", "ended")}
    sections = {"population": {"size": 40, "sigmas": [0.05, 0.1, 0.2]}, "controls": NONE}
    undisturbed = randopt(config(**sections, engine=ENGINE, storage={"home": str(homes["undisturbed"])}))
    config_file = tmp_path / "ended.yaml"
    config_file.write_text(
        dump_config(config(**sections, engine={**ENGINE, "replicas": 2}, storage={"home": str(homes["ended"])}))
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(PREFECT_API_URL.value())}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "thickets", "run", str(config_file)],
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    for number in (signal.SIGKILL, signal.SIGINT):
        before = stamps(homes["ended"])
        process = start()
        wait_for(lambda before=before: len(stamps(homes["ended"])) >= len(before) + 4)
        under_way = engines(process.pid)
        assert under_way
        if number == signal.SIGKILL:
            under_way[0].suspend()
        process.send_signal(number)
        assert process.wait(PATIENCE_S) != 0
        wait_for(lambda under_way=under_way: not any(engine.is_running() for engine in under_way))
        after = stamps(homes["ended"])
        assert {path: after[path] for path in before} == before, "a finished shard was written again"
    assert start().wait(PATIENCE_S) == 0
    assert rows(homes["ended"]).equals(rows(homes["undisturbed"]))
    manifest = homes["ended"] / "runs" / undisturbed.run_id / "manifest.json"
    assert manifest.read_bytes() == (undisturbed.folder / "manifest.json").read_bytes()
