"""MLflow and Prefect both away, while a run scores and while it reports: it completes, and nothing is asked twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import mlflow
import polars as pl
import pytest

from tests.mlflow_server import MlflowServer
from tests.patience import PATIENCE_S, wait_for
from tests.prefect_server import PrefectServer
from tests.stoppable_server import StoppableServer
from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.results.runs import load_summary
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder
from thickets.storage.tracking.new_database import create_database

ROOT = Path(__file__).parents[2]
_LONGER_THAN_A_TICK_S = 6.0  # progress is shown every five seconds


def start_all(servers: Iterable[StoppableServer]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(StoppableServer.start, servers))


def wait_for_run(what: Callable[[], object], run: subprocess.Popen[str]) -> None:
    wait_for(lambda: what() or run.poll() is not None, every_s=0.005)
    assert what(), run.communicate()[1]


def shards(home: Home) -> dict[str, tuple[int, int]]:
    """Finished shards by name: when each was written, and as which file."""
    found = {path.name: path.stat() for path in (home.root / "shards").glob("*/*.parquet") if path.name[0] != "."}
    return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in found.items()}


@pytest.mark.slow
def test_servers_that_go_away_cost_nothing(
    config: Callable[..., RunConfig], finished: RunSummary, tmp_path: Path, thickets: Any
) -> None:
    create_database(tmp_path / "server.db", None)
    home, away = Home(tmp_path / "away"), tmp_path / "away.yaml"
    servers = [PrefectServer(tmp_path), MlflowServer(tmp_path, tmp_path / "server.db")]
    prefect, tracking = servers
    away.write_text(
        dump_config(
            config(
                tracking={"uri": tracking.uri},
                storage={"home": str(home.root)},
                scoring={"examples_per_block": 5, "candidates_per_shard": 1},
            )
        )
    )
    try:
        start_all(servers)
        run = subprocess.Popen(
            [sys.executable, "-m", "thickets", "run", str(away)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PREFECT_API_URL": prefect.api},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_run(lambda: len(shards(home)) > 5, run)
        for server in servers:
            server.stop()
        run.send_signal(signal.SIGSTOP)
        scored_before = shards(home)
        time.sleep(_LONGER_THAN_A_TICK_S)
        run.send_signal(signal.SIGCONT)
        wait_for_run(lambda: len(shards(home)) > len(scored_before) + 10, run)
        run.send_signal(signal.SIGSTOP)  # servers need longer to start than the tiny model to answer
        assert not list((home.root / "runs").glob("*/manifest.json")), "it has scored everything already"
        start_all(servers)
        run.send_signal(signal.SIGCONT)
        wait_for_run(lambda: list((home.root / "runs").glob("*/manifest.json")), run)
        for server in servers:
            server.stop()
        wait_for_run(lambda: list((home.root / "runs").glob("*/report.html")), run)
        prefect.start()
        _, told = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, told
        [folder] = map(RunFolder, (home.root / "runs").iterdir())
        assert f"thickets log {folder.run_id}" in told
        assert folder.unlogged.exists()
        flow_runs = httpx.post(f"{prefect.api}/flow_runs/filter", json={}, timeout=PATIENCE_S).json()
        assert [each["state_name"] for each in flow_runs] == ["Completed"]

        summary = load_summary(folder)
        assert summary.evaluation == finished.evaluation
        written = shards(home)
        assert {name: written[name] for name in scored_before} == scored_before
        rows = pl.concat([pl.read_parquet(path) for path in (home.root / "shards").glob("*/*.parquet")])
        assert not rows.select("candidate_id", "split", "example_id").is_duplicated().any(), "asked twice"

        tracking.start()
        assert thickets("log", folder.run_id, "--home", str(home.root))[0] == 0
        assert not folder.unlogged.exists()
        client = mlflow.MlflowClient(tracking.uri)
        logged = client.get_run(load_summary(folder).tracking.mlflow_run_id)
        assert logged.info.status == "FINISHED"
        assert logged.data.metrics["test.ensemble.accuracy"] == summary.evaluation.ensemble.value
        runs = client.search_runs([logged.info.experiment_id])
        assert {each.info.status for each in runs} == {"FINISHED"}
        assert shards(home) == written
    finally:
        for server in servers:
            server.stop()
