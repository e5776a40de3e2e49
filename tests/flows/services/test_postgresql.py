"""Both servers on a real PostgreSQL: the only change is two variables."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from thickets.flows.services.state import read_state
from thickets.storage.tracking.store import mlflow_client

ROOT = Path(__file__).parents[3]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARIES, reason="no PostgreSQL server is installed here (Debian: postgresql)"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="thickets[postgres] is not installed"),
]


@pytest.fixture
def postgresql() -> Iterator[str]:
    """Address, without a scheme, of a server with the databases prefect and mlflow."""
    folder = Path("/tmp") / f"thickets-postgresql-{os.getpid()}"  # its user must get in, which pytest's folders prevent
    folder.mkdir()
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program: str, *arguments: str) -> None:
        subprocess.run(
            [*as_user, str(BINARIES[-1] / program), *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL
        )

    try:
        call("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "thickets")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        call("pg_ctl", "-D", f"{folder}/data", "-o", options, "-w", "-l", f"{folder}/log", "start")
        try:
            for name in ("prefect", "mlflow"):
                call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "thickets", name)
            yield f"thickets@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def test_a_run_lands_in_both_databases(postgresql: str, my_yaml, tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "MLFLOW_"))}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "THICKETS_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgresql}/prefect",
        "MLFLOW_BACKEND_STORE_URI": f"postgresql://{postgresql}/mlflow",
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "thickets", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)

    started = call("up", "--detach", "--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0")
    try:
        assert started.returncode == 0, started.stderr
        state = read_state(home)
        assert state is not None
        ran = call("run", my_yaml(storage={"home": str(home)}))
        assert ran.returncode == 0, ran.stderr
        client = mlflow_client(state.mlflow)
        [experiment] = client.search_experiments(filter_string="name = 'thickets'")
        assert client.search_runs([experiment.experiment_id])
    finally:
        call("down")
    assert not (home / "prefect.db").exists()
    assert not (home / "mlflow.db").exists()
    import psycopg

    for database, query in {
        "prefect": "select count(*) from flow_run where state_name = 'Completed'",
        "mlflow": "select count(*) from runs where status = 'FINISHED'",
    }.items():
        with psycopg.connect(f"postgresql://{postgresql}/{database}") as connection, connection.cursor() as cursor:
            cursor.execute(query)
            assert cursor.fetchone()[0] >= 1, database
