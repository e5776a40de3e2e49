"""A home that was moved or copied keeps its artifacts in MLflow, and new ones land in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.tracking.models import process_uri
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, mlflow_client

HELD_ELSEWHERE = """
import sys
from pathlib import Path
from filelock import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(home: Home, run_id: str, uri: str | None = None) -> Tracker:
    return Tracker.start(home, "exp", run_id, {RUN_ID_TAG: run_id}, uri=uri)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Has a finished run with an artifact, and a model of it that is registered; the space is on purpose."""
    home = Home(tmp_path / "the old home")
    with start(home, "first") as tracker:
        tracker.log_text("report.md", "# Report")
        model = tracker.client.create_logged_model(tracker.experiment_id, name="ensemble", source_run_id=tracker.run_id)
        folder = tmp_path / "made"
        folder.mkdir()
        (folder / "MLmodel").write_text("flavors: {}")
        tracker.client.log_model_artifacts(model.model_id, str(folder))
        tracker.client.finalize_logged_model(model.model_id, "READY")
        tracker.client.create_registered_model("champion")
        with process_uri(tracker.uri):
            tracker.client.create_model_version("champion", f"models:/{model.model_id}", model_id=model.model_id)
    home.run("first").create()
    return home


def store_of(home: Home) -> Any:
    return mlflow_client(f"sqlite:///{home.mlflow_db.resolve()}")


def addresses(home: Home) -> set[str]:
    """The folders of artifacts that the store names."""
    client = store_of(home)
    experiments = client.search_experiments()
    ids = [experiment.experiment_id for experiment in experiments]
    runs = client.search_runs(ids)
    models = client.search_logged_models(ids)
    return {
        *(experiment.artifact_location for experiment in experiments),
        *(run.info.artifact_uri for run in runs),
        *(model.artifact_location for model in models),
        client.get_model_version_download_uri("champion", "1"),
    }


def text_of(home: Home, run_id: str) -> str:
    client = store_of(home)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    [run] = client.search_runs(ids, f"tags.`{RUN_ID_TAG}` = '{run_id}'")
    return Path(client.download_artifacts(run.info.run_id, "report.md")).read_text()


def test_a_moved_home_shows_its_artifacts_and_takes_new_ones(home: Home, tmp_path: Path) -> None:
    there = Home(tmp_path / "elsewhere" / "new home")
    there.root.parent.mkdir()
    home.root.rename(there.root)
    assert text_of(there, "first") == "# Report"
    with start(there, "second") as tracker:
        tracker.log_text("report.md", "# Second")
    assert text_of(there, "second") == "# Second"
    assert not home.root.exists()
    found = addresses(there)
    assert len(found) > 4
    assert all(each.startswith(there.root.as_uri()) or each.startswith("models:/") for each in found), found


def test_a_copy_and_its_original_have_artifacts_of_their_own(home: Home, tmp_path: Path) -> None:
    before = addresses(home)
    copy = Home(tmp_path / "copy")
    shutil.copytree(home.root, copy.root)
    with start(copy, "second") as tracker:
        tracker.log_text("report.md", "# In the copy")
    assert addresses(home) == before
    runs, with_second = ({path.name for path in each.mlflow_artifacts.iterdir()} for each in (home, copy))
    assert runs < with_second
    shutil.rmtree(home.root)
    assert (text_of(copy, "first"), text_of(copy, "second")) == ("# Report", "# In the copy")


def test_another_path_to_the_same_home_changes_nothing(home: Home, tmp_path: Path) -> None:
    before = addresses(home)
    (tmp_path / "link").symlink_to(home.root)
    store_of(Home(tmp_path / "link"))
    mlflow_client(f"sqlite:///{tmp_path}/link/mlflow.db")
    assert addresses(home) == before


def test_artifacts_of_other_homes_stay_where_they_are(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "the old home and more")
    with Tracker.start(other, "theirs", "r", {RUN_ID_TAG: "theirs"}, uri=f"sqlite:///{home.mlflow_db}") as tracker:
        tracker.log_text("report.md", "# Theirs")
    moved = Home(home.root.rename(tmp_path / "moved"))
    assert text_of(moved, "theirs") == "# Theirs"
    assert text_of(moved, "first") == "# Report"


def test_a_store_that_is_no_home_s_is_left_alone(home: Home, tmp_path: Path) -> None:
    database = tmp_path / "server" / "theirs.db"
    database.parent.mkdir()
    shutil.copy(home.mlflow_db, database)
    (database.parent / "mlartifacts").mkdir()
    client = mlflow_client(f"sqlite:///{database}")
    locations = {experiment.artifact_location for experiment in client.search_experiments()}
    assert all(each.startswith(home.root.as_uri()) for each in locations)


def test_a_home_that_another_machine_uses_under_its_old_path_is_left_alone(
    home: Home, tmp_path: Path, python: Callable[..., subprocess.Popen[str]], caplog: pytest.LogCaptureFixture
) -> None:
    moved = Home(home.root.rename(tmp_path / "mounted here"))
    lock = moved.run("first").lock
    theirs = python(HELD_ELSEWHERE, lock)
    assert theirs.stdout is not None
    theirs.stdout.readline()
    lock.write_text(str(replace(Holder.this(), host="elsewhere", boot="another")))
    assert all("old%20home" in each for each in addresses(moved) if each.startswith("file:"))
    assert "first is in progress on another machine" in caplog.text
    theirs.communicate()
    assert not any("old%20home" in each for each in addresses(moved))
