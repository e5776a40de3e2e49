"""A new tracking database is made once and whole, whoever comes first."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.patience import wait_for
from thickets.storage.home import Home
from thickets.storage.sqlite import create_once, fill_from_template, run_script
from thickets.storage.tracking import half_made, new_database
from thickets.storage.tracking.new_database import create_database
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG

ROOT = Path(__file__).parents[2]
# Imports first, so that both processes come to the database at the same moment.
FIRST_RUN = """
import os, sys, time
from pathlib import Path
import mlflow.store.tracking.sqlalchemy_store
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker

name = sys.argv[1]
for home in map(Path, sys.argv[2:]):
    os.environ["THICKETS_CACHE"] = str(home / "cache")  # no template yet: the migrations run
    (home / f"{name} is ready").touch()
    while not (home / "go").exists():
        time.sleep(0.001)
    with Tracker.start(Home(home), "exp", name, {"thickets.run_id": name}) as tracker:
        tracker.log_metrics({"accuracy": 0.5})
"""


@pytest.mark.parametrize("n_pairs", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_two_first_runs_at_once_in_a_fresh_home_are_both_tracked(tmp_path: Path, n_pairs: int) -> None:
    homes = [tmp_path / f"{number}" for number in range(n_pairs)]
    for home in homes:
        home.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_RUN, name, *map(str, homes)], env=environment, stderr=subprocess.PIPE
        )
        for name in ("one", "two")
    ]
    for home in homes:
        wait_for(lambda home=home: len(list(home.glob("* is ready"))) == 2, every_s=0.01)
        (home / "go").touch()
    assert [(run.communicate()[1], run.returncode) for run in runs] == [(b"", 0), (b"", 0)]
    for home in homes:
        with closing(sqlite3.connect(Home(home).mlflow_db)) as database:
            assert sorted(database.execute("SELECT name FROM runs").fetchall()) == [("one",), ("two",)]
            assert sorted(database.execute("SELECT name FROM experiments").fetchall()) == [("Default",), ("exp",)]


@pytest.fixture
def broken(tmp_path: Path) -> Home:
    """A home as two first runs of an earlier version left it: with MLflow's first tables, and one of a migration."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.initial_models import Base

    home = Home(tmp_path / "broken").writable()
    engine = sqlalchemy.create_engine(f"sqlite:///{home.mlflow_db}")
    Base.metadata.create_all(engine)
    engine.dispose()
    run_script(home.mlflow_db, "CREATE TABLE _alembic_tmp_tags (key TEXT)")
    an_hour_ago = time.time() - 3600
    os.utime(home.mlflow_db, (an_hour_ago, an_hour_ago))
    return home


def tables(database: Path) -> set[str]:
    with closing(sqlite3.connect(database)) as opened:
        return {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_home_that_two_first_runs_have_broken_heals_itself(broken: Home, caplog: pytest.LogCaptureFixture) -> None:
    with Tracker.start(broken, "exp", "a run", {RUN_ID_TAG: "a"}) as tracker:
        tracker.log_metrics({"accuracy": 0.5})
    assert not any(name.startswith("_alembic_tmp") for name in tables(broken.mlflow_db))
    [kept] = broken.root.glob("mlflow.db.broken-*")
    assert "_alembic_tmp_tags" in tables(kept)
    assert f"the old one is now {kept.name}" in caplog.text
    with Tracker.start(broken, "exp", "another", {RUN_ID_TAG: "b"}):
        assert len(list(broken.root.glob("mlflow.db.broken-*"))) == 1


def test_a_migration_at_work_is_waited_for(broken: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_made, "_QUIET_S", 30.0)
    broken.mlflow_db.touch()

    def finish() -> None:
        time.sleep(0.3)
        run_script(broken.mlflow_db, "DROP TABLE _alembic_tmp_tags")

    at_work = threading.Thread(target=finish)
    at_work.start()
    assert not half_made.is_half_made(broken.mlflow_db)
    at_work.join()


def test_a_database_with_runs_is_never_set_aside(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with Tracker.start(home, "exp", "a run", {RUN_ID_TAG: "a"}):
        run_script(home.mlflow_db, "CREATE TABLE _alembic_tmp_tags (key TEXT)")
    an_hour_ago = time.time() - 3600
    os.utime(home.mlflow_db, (an_hour_ago, an_hour_ago))
    assert not half_made.is_half_made(home.mlflow_db)
    half_made.set_aside(home.mlflow_db)
    assert not list(home.root.glob("mlflow.db.broken-*"))


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


def migrate(database: Path) -> None:
    """A tool's migrations: they leave part of the database in its log, as a server that is killed does."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
    _open_for_ever.append(connection)


_open_for_ever: list[sqlite3.Connection] = []


def rows(database: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute("SELECT x FROM t").fetchall()


def test_migrations_run_once_per_version_and_every_new_database_is_a_whole_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path / "cache"))
    calls = []

    def counted(database: Path) -> None:
        calls.append(database)
        migrate(database)

    for name in ("one.db", "two.db"):
        fill_from_template(tmp_path / name, "tool-1", counted)
    assert rows(tmp_path / "one.db") == rows(tmp_path / "two.db") == [(1,)]
    assert len(calls) == 1
    fill_from_template(tmp_path / "three.db", "tool-2", counted)
    assert len(calls) == 2


def test_without_a_cache_every_database_is_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").touch()
    monkeypatch.setenv("THICKETS_CACHE", str(tmp_path / "a file"))  # no folder can be made there
    fill_from_template(tmp_path / "one.db", "tool-1", migrate)
    assert rows(tmp_path / "one.db") == [(1,)]


def test_another_version_of_mlflow_makes_its_first_experiment_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_database, "_SCHEMA_OF", "0.0.0")
    with Tracker.start(Home(tmp_path), "exp", "a run", {RUN_ID_TAG: "a"}) as tracker:
        assert tracker.run_id
