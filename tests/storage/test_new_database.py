"""A new tracking database is made once and whole, whoever comes first, and is what MLflow's migrations would make."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from thickets.storage.home import Home
from thickets.storage.sqlite import create_once, run_script
from thickets.storage.tracking import new_database
from thickets.storage.tracking.new_database import SCHEMA_OF, create_database, packaged_schema
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG

ROOT = Path(__file__).parents[2]
# Imports first, so that both processes come to the database at the same moment.
FIRST_RUN = """
import sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker

home, name = Path(sys.argv[1]), sys.argv[2]
(home / f"{name} is ready").touch()
while not (home / "go").exists():
    time.sleep(0.001)
with Tracker.start(Home(home), "exp", name, {"thickets.run_id": name}) as tracker:
    tracker.log_metrics({"accuracy": 0.5})
"""


def statements(script: str) -> list[str]:
    """The lines of a script in an order of their own: constraints and indexes come in any."""
    return sorted(line.strip().rstrip(", ") for line in script.splitlines())


def test_the_schema_is_that_of_the_installed_mlflow() -> None:
    assert version("mlflow") == SCHEMA_OF, new_database.__doc__


@pytest.mark.slow
def test_the_schema_is_what_the_migrations_make() -> None:
    command = [sys.executable, "-m", new_database.__name__]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert statements(made) == statements(packaged_schema())


def test_two_first_runs_at_once_in_a_fresh_home_are_both_tracked(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FIRST_RUN, str(tmp_path)]
    runs = [subprocess.Popen([*command, name], env=environment, stderr=subprocess.PIPE) for name in ("one", "two")]
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("* is ready"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [(run.communicate()[1], run.returncode) for run in runs] == [(b"", 0), (b"", 0)]
    with closing(sqlite3.connect(Home(tmp_path).mlflow_db)) as database:
        assert sorted(database.execute("SELECT name FROM runs").fetchall()) == [("one",), ("two",)]
        assert sorted(database.execute("SELECT name FROM experiments").fetchall()) == [("Default",), ("exp",)]


def test_who_finds_it_being_made_waits_and_makes_no_other(tmp_path: Path) -> None:
    made = []

    def fill(database: Path) -> None:
        time.sleep(0.05)
        made.append(database)
        run_script(database, "CREATE TABLE t (x); INSERT INTO t VALUES (1);")

    threads = [threading.Thread(target=create_once, args=(tmp_path / "new.db", fill)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"new.db", "new.db.lock"}


def test_one_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        create_once(tmp_path / "new.db", lambda database: run_script(database, "CREATE TABLE t (x); nonsense;"))
    assert {path.name for path in tmp_path.iterdir()} == {"new.db.lock"}


def test_a_location_with_an_apostrophe_is_only_text(tmp_path: Path) -> None:
    create_database(tmp_path / "new.db", tmp_path / "it's here")
    with closing(sqlite3.connect(tmp_path / "new.db")) as database:
        [(location,)] = database.execute("SELECT artifact_location FROM experiments").fetchall()
    assert location == (tmp_path / "it's here" / "0").as_uri()


@pytest.mark.slow
def test_another_version_of_mlflow_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_database, "SCHEMA_OF", "0.0.0")
    monkeypatch.setattr(new_database, "packaged_schema", lambda: "nonsense")
    with Tracker.start(Home(tmp_path), "exp", "a run", {RUN_ID_TAG: "a"}) as tracker:
        assert tracker.run_id
