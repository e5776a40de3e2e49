"""What is tracked can be walked back through MLflow's own client, from any thread, and nothing is left RUNNING."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import nullcontext
from dataclasses import replace

import polars as pl
import pytest

from tests.mlflow_server import MlflowServer
from tests.patience import no_hang
from tests.stoppable_server import vacant_port
from thickets.storage.errors import InputError, RunError, TransientError
from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import HOLDER_TAG, RUN_ID_TAG, mlflow_client, tracking_errors
from thickets.storage.tracking.writer import MetricPoint

SHA = "0123456789abcdef" * 4
# What MLflow is told so that it takes longer than `no_hang` lets it, where it is asked for a store that is away.
TRIES_FOR_MINUTES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "8"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    # One for the module: a fresh database takes MLflow seconds. The signs are on purpose.
    return Home(tmp_path_factory.mktemp("tracking home, 50% of %(here)s"))


@pytest.fixture
def tracker(home):
    with Tracker.start(home, "exp", "a run", {RUN_ID_TAG: "run-1", "problem": "countdown"}) as tracker:
        yield tracker


def client(tracker):
    import mlflow

    return mlflow.MlflowClient(tracker.uri)


def log_everything(tracker, folder):
    tracker.log_config({f"engine.key{i}": i for i in range(120)} | {"long": "x" * 7000})
    tracker.log_tags({"changed": "1"})
    tracker.log_tags({"changed": "2"})
    frame = pl.DataFrame({"id": ["a", "b"], "n": [1, 2], "ok": [True, False], "x": [0.5, 1.0]})
    tracker.log_dataset("countdown/selection", SHA, frame, "selection")
    tracker.log_metrics({"accuracy/test": 0.5, "n_correct": 7}, step=3)
    tracker.log_metrics([MetricPoint("best", i / 7, i) for i in range(1500)])
    tracker.log_table("experts", frame)
    tracker.log_table("nested", frame.with_columns(pl.concat_list("n").alias("list")))
    (folder / "density.png").write_bytes(b"PNG")
    tracker.log_file(folder / "density.png", "figures")
    tracker.log_json("summary.json", {"a": [1]})
    tracker.log_text("report.md", "# Report")
    (folder / "config.yaml").write_text("a: 1\n")
    tracker.log_file(folder / "config.yaml")
    return frame


def walk_back(tracker, frame, folder):
    walker = client(tracker)
    run = walker.get_run(tracker.run_id)
    assert run.info.run_name == "a run"
    assert run.data.tags[RUN_ID_TAG] == "run-1"
    assert run.data.tags["changed"] == "2"
    assert len(run.data.params) == 121
    assert run.data.params["engine.key119"] == "119"
    assert run.data.params["long"] == "x" * 5997 + "..."
    assert run.data.metrics["accuracy/test"] == 0.5
    history = walker.get_metric_history(tracker.run_id, "best")
    assert sorted((point.step, point.value) for point in history) == [(i, i / 7) for i in range(1500)]

    [given] = run.inputs.dataset_inputs
    assert given.dataset.digest == SHA[:32]
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "selection", "sha256": SHA}
    assert json.loads(given.dataset.profile)["num_rows"] == 2
    types = [column["type"] for column in json.loads(given.dataset.schema)["mlflow_colspec"]]
    assert types == ["string", "long", "boolean", "double"]

    def names(path=None):
        return {item.path for item in walker.list_artifacts(tracker.run_id, path)}

    assert names() == {"tables", "figures", "summary.json", "report.md", "config.yaml"}
    assert names("tables") == {"tables/experts.parquet", "tables/experts.csv", "tables/nested.parquet"}
    assert names("figures") == {"figures/density.png"}
    got = walker.download_artifacts(tracker.run_id, "tables/experts.parquet", str(folder))
    assert pl.read_parquet(got).equals(frame)


def test_everything_is_found_again_through_the_client(tracker, home, tmp_path):
    frame = log_everything(tracker, tmp_path)
    tracker.finish()
    walk_back(tracker, frame, tmp_path)
    assert client(tracker).get_run(tracker.run_id).info.status == "FINISHED"
    assert (home.mlflow_artifacts / tracker.run_id / "artifacts" / "report.md").read_text() == "# Report"
    assert tracker.url() is None
    assert f"mlflow ui --backend-store-uri 'sqlite:///{home.mlflow_db}'" in tracker.describe()
    assert f"/#/experiments/{tracker.experiment_id}/runs/{tracker.run_id}" in tracker.describe()


def test_other_threads_write_to_the_same_run(tracker):
    threads = [threading.Thread(target=tracker.log_metrics, args=({f"m{i}": i},)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics = client(tracker).get_run(tracker.run_id).data.metrics
    assert metrics == {f"m{i}": i for i in range(8)}


def test_runs_that_a_kill_left_running_are_marked(home):
    tags = {RUN_ID_TAG: "killed"}
    left = Tracker.start(home, "exp", "left", tags)
    other = Tracker.start(home, "exp", "other", {RUN_ID_TAG: "other"})
    done = Tracker.start(home, "exp2", "elsewhere", tags)
    resumed = Tracker.start(home, "exp", "resumed", tags)
    status = {t: client(t).get_run(t.run_id).info.status for t in (left, other, done, resumed)}
    assert status == {left: "KILLED", other: "RUNNING", done: "RUNNING", resumed: "RUNNING"}


def test_in_a_shared_store_only_runs_of_processes_that_were_here_are_marked(home, tmp_path, monkeypatch):
    monkeypatch.setattr("thickets.storage.holder._boot_id", lambda: "now")  # macOS has none
    uri = f"sqlite:///{tmp_path}/shared.db"
    here = Holder.this()
    dead = replace(here, pid=2**22 + 1)  # beyond the largest pid there is
    holders = {
        "killed here": dead,
        "alive here": replace(here, pid=os.getppid()),
        "elsewhere": replace(dead, host="elsewhere"),
        "another container": replace(dead, space="pid:[1]"),
        "before a restart": replace(here, boot="earlier"),
    }
    left = {}
    for name, holder in holders.items():
        left[name] = Tracker.start(home, "exp", name, {RUN_ID_TAG: name, HOLDER_TAG: str(holder)}, uri=uri)
    for tracker in left.values():
        tracker.log_tags({RUN_ID_TAG: "same"})
    Tracker.start(home, "exp", "next", {RUN_ID_TAG: "same"}, uri=uri)
    status = {name: client(each).get_run(each.run_id).info.status for name, each in left.items()}
    assert {name for name, each in status.items() if each == "KILLED"} == {"killed here", "before a restart"}


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_leaving_by_an_exception_ends_the_run(home, error, status):
    with pytest.raises(error), Tracker.start(home, "exp", "x", {RUN_ID_TAG: "x"}) as tracker:
        raise error
    assert client(tracker).get_run(tracker.run_id).info.status == status


def test_changed_parameter_is_a_run_error(tracker):
    tracker.log_config({"sigma": 1})
    tracker.log_config({"sigma": 1})
    with pytest.raises(RunError, match=r"tracking\.uri: .*param") as caught:
        tracker.log_config({"sigma": 2})
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_be_reached_is_not_tried_for_minutes(home, monkeypatch):
    monkeypatch.setenv(*TRIES_FOR_MINUTES)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
        told = pytest.raises(RunError, match=rf"^tracking\.uri: cannot reach {uri}: .*refused")
        with no_hang(), told as caught:
            Tracker.start(home, "exp", "x", {RUN_ID_TAG: "x"}, uri=uri)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "ftp://x/y", "localhost:5000"])
def test_uris_that_mlflow_cannot_write_to_are_refused(home, uri):
    with pytest.raises(InputError, match=r"^tracking\.uri: .*use http"):
        Tracker.start(home, "exp", "x", {RUN_ID_TAG: "x"}, uri=uri)


def test_mlflow_is_quiet(tmp_path):
    code = (
        "import sys; from pathlib import Path; from thickets.storage.home import Home\n"
        "from thickets.storage.tracking.run import RUN_ID_TAG, Tracker\n"
        "with Tracker.start(Home(Path(sys.argv[1])), 'e', 'r', {RUN_ID_TAG: 'x'}) as t: t.log_text('a.txt', 'a')"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
    assert logging.getLogger().level != logging.CRITICAL  # silenced by name, not altogether


def test_a_run_is_found_again_and_logging_it_twice_is_logging_it_once(home):
    with Tracker.start(home, "exp", "again", {RUN_ID_TAG: "again"}) as first:
        first.at(1_700_000_000_000).log_metrics({"accuracy": 0.5})
        first.log_config({"kept": 1})
    again = Tracker.find(first.uri, first.run_id, "again")
    assert (again.run_id, again.experiment_id) == (first.run_id, first.experiment_id)
    dated = again.at(1_700_000_000_000)
    dated.log_metrics({"accuracy": 0.5})
    dated.log_new_config({"kept": 2, "new": 3})
    with dated.child("stage") as stage:
        stage.log_metrics({"part": 1})
    assert len(client(first).get_metric_history(first.run_id, "accuracy")) == 1
    assert client(first).get_run(first.run_id).data.params == {"kept": "1", "new": "3"}
    [point] = client(first).get_metric_history(stage.run_id, "part")
    assert point.timestamp == 1_700_000_000_000
    assert Tracker.find(first.uri, first.run_id, "of another run") is None
    assert Tracker.find(first.uri, "0" * 32, "again") is None


@pytest.mark.parametrize("error", [None, ValueError])
def test_a_store_that_is_away_at_the_end_is_told_of_and_no_more(error, caplog, monkeypatch):
    monkeypatch.setenv(*TRIES_FOR_MINUTES)
    tracker = Tracker.reopen(f"http://127.0.0.1:{vacant_port()}", "1", "0" * 32)
    with no_hang(), pytest.raises(error) if error else nullcontext(), tracker:
        if error:
            raise error
    assert "may still be marked as running" in caplog.text


def test_a_server_that_hangs_costs_minutes_and_not_half_an_hour(monkeypatch):
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT

    for variable in (MLFLOW_HTTP_REQUEST_MAX_RETRIES, MLFLOW_HTTP_REQUEST_TIMEOUT):
        monkeypatch.delenv(variable.name, raising=False)
    mlflow_client("http://127.0.0.1:9")
    assert (1 + MLFLOW_HTTP_REQUEST_MAX_RETRIES.get()) * MLFLOW_HTTP_REQUEST_TIMEOUT.get() <= 180
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")  # what the user has set wins
    mlflow_client("http://127.0.0.1:9")
    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 300


@pytest.mark.slow
def test_real_server(tmp_path, home):
    with MlflowServer(tmp_path, home.mlflow_db) as server:
        uri = server.uri
        with Tracker.start(home, "served", "a run", {RUN_ID_TAG: "run-1"}, uri=uri) as tracker:
            frame = log_everything(tracker, tmp_path)
        walk_back(tracker, frame, tmp_path)
        assert tracker.url() == f"{uri}/#/experiments/{tracker.experiment_id}/runs/{tracker.run_id}"
        assert tracker.describe() == tracker.url()
    with pytest.raises(RunError, match=r"tracking\.uri: cannot reach"):
        Tracker.start(home, "served", "x", {RUN_ID_TAG: "x"}, uri=uri)


@pytest.mark.parametrize("passing", [True, False])
def test_what_passes_is_told_from_what_does_not(passing: bool) -> None:
    """As MLflow's client does it: what the network raises comes wrapped."""
    from mlflow.exceptions import MlflowException

    error = MlflowException("API request failed")
    error.__context__ = ConnectionResetError("reset by peer") if passing else ValueError("no such field")
    with pytest.raises(RunError) as told, tracking_errors("http://there"):
        raise error
    assert isinstance(told.value, TransientError) == passing
