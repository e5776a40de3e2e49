"""The Prefect server of one command: it answers, is told from a lasting one, and never outlives its command."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE_S
from thickets.flows.runtime import temporary_server
from thickets.flows.runtime.prefect_database import create_prefect_database
from thickets.flows.runtime.temporary_server import TemporaryServer
from thickets.storage.errors import RunError

ROOT = Path(__file__).parents[2]
# Killed at once, as a command may be: `input` never returns.
COMMAND = """
from prefect import flow
from prefect.client.orchestration import get_client
from thickets.flows.runtime.prefect_server import lasting_api_url
from thickets.flows.runtime.temporary_server import TemporaryServer

@flow
def greet():
    return "hello"

server = TemporaryServer()
with server.serving():
    print(greet(), lasting_api_url(), flush=True)
    with get_client(sync_client=True) as client:
        print([run.state.name for run in client.read_flow_runs()], flush=True)
    input()
"""


def statements(script: str) -> list[str]:
    """The lines of a script in an order of their own: constraints and indexes come in any."""
    return sorted(line.strip().rstrip(", ") for line in script.splitlines())


def test_it_keeps_flow_runs_and_ends_with_its_command_even_by_sigkill(tmp_path: Path) -> None:
    unset = ("PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(tmp_path)}
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert command.stdout is not None
        lines = [command.stdout.readline().strip(), command.stdout.readline().strip()]
        assert lines == ["hello None", "['Completed']"]
        [server] = psutil.Process(command.pid).children()
    finally:
        command.send_signal(signal.SIGKILL)
        command.wait()
    server.wait(PATIENCE_S)
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as database:  # where Prefect looks for it later
        assert database.execute("SELECT count(*) FROM flow_run").fetchone() == (1,)


def test_one_that_does_not_start_is_an_error_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from prefect.context import refresh_global_settings_context

    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", f"sqlite+aiosqlite:///{tmp_path}/prefect.db")
    monkeypatch.setenv("PREFECT_API_URL", "")  # to be as before afterwards
    monkeypatch.setattr(temporary_server, "_MAIN", "no_such_module")
    monkeypatch.setattr(temporary_server, "_api_url", None)
    server = TemporaryServer()
    try:
        with pytest.raises(RunError, match=r"(?s)has not started.*No module named no_such_module"), server.serving():
            pass
    finally:
        server.stop()
        monkeypatch.undo()
        refresh_global_settings_context()


@pytest.mark.parametrize("url", ["postgresql+asyncpg://me@here/db", "sqlite+aiosqlite:///file::memory:?cache=shared"])
def test_a_database_that_is_no_file_is_left_to_prefect(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    create_prefect_database(url)
    assert list(tmp_path.iterdir()) == []


def test_a_new_database_is_there_before_its_server(tmp_path: Path) -> None:
    create_prefect_database(f"sqlite+aiosqlite:///{tmp_path}/home/prefect.db")
    with closing(sqlite3.connect(tmp_path / "home" / "prefect.db")) as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
