"""MLflow that is away: the run completes, and its folder is enough to log it later, once or more often."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from tests.flows.watched_engine import engine_that_tells
from tests.mlflow_server import MlflowServer
from tests.patience import no_hang
from tests.stoppable_server import vacant_port
from thickets.flows.config.run import RunConfig
from thickets.flows.publish import log as logging_module
from thickets.flows.publish.finished import load_finished
from thickets.flows.publish.log import log_at_the_end
from thickets.flows.publish.record import TrackingRecord
from thickets.flows.results.runs import find_run, load_summary
from thickets.flows.results.summary import RunSummary
from thickets.flows.search.search import search
from thickets.storage.errors import RunError
from thickets.storage.home import Home, RunFolder
from thickets.storage.tracking.new_database import create_database

pytestmark = pytest.mark.usefixtures("prefect_server")
MakeConfig = Callable[..., RunConfig]


def everything(uri: str) -> dict[str, Any]:
    """What a store has of all runs of the experiment, times of runs aside."""
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("thickets")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])

    def points(run: Any) -> list[tuple[str, int, float, int]]:
        history = [point for name in run.data.metrics for point in client.get_metric_history(run.info.run_id, name)]
        return sorted((point.key, point.step, point.value, point.timestamp) for point in history)

    def files(run_id: str, folder: str | None = None) -> list[str]:
        found = client.list_artifacts(run_id, folder)
        return [path for item in found for path in (files(run_id, item.path) if item.is_dir else [item.path])]

    return {
        "runs": {
            run.info.run_id: {
                "status": run.info.status,
                "params": {name: value for name, value in run.data.params.items() if name != "storage.home"},  # copied
                "metrics": points(run),
                "files": sorted(files(run.info.run_id)),
                "data": sorted(each.dataset.name for each in run.inputs.dataset_inputs),
                "inputs": len(run.inputs.model_inputs),
                "outputs": len(run.outputs.model_outputs) if run.outputs else 0,
            }
            for run in runs
        },
        "models": sorted(
            (model.name, len(model.metrics or [])) for model in client.search_logged_models([experiment.experiment_id])
        ),
    }


def main_run(found: dict[str, Any], summary: RunSummary) -> dict[str, Any]:
    return dict(found["runs"][summary.tracking.mlflow_run_id])


def home_of(config: RunConfig) -> Home:
    return Home(config.storage.home)


def test_logging_a_run_again_adds_nothing(config: MakeConfig, finished: RunSummary, thickets: Any) -> None:
    before = everything(finished.tracking.mlflow_uri)
    assert len(before["models"]) == 2
    status, out, _ = thickets("log", "latest", "--home", str(home_of(config()).root))
    assert status == 0
    assert finished.tracking.mlflow_run_id in out
    assert everything(finished.tracking.mlflow_uri) == before
    assert load_summary(find_run(home_of(config()), "latest")) == finished


def test_another_store_gets_all_of_a_run(
    config: MakeConfig, finished: RunSummary, thickets: Any, tmp_path: Path
) -> None:
    before = everything(finished.tracking.mlflow_uri)
    other = f"sqlite:///{tmp_path}/other.db"
    home = home_of(config())
    assert thickets("log", "latest", "--uri", other, "--home", str(home.root))[0] == 0
    now = load_summary(find_run(home, "latest"))
    assert now.tracking.mlflow_uri == other
    assert now.evaluation == finished.evaluation
    found = everything(other)
    assert main_run(found, now) == main_run(before, finished)
    assert found["models"] == before["models"]
    assert sorted(run["metrics"] for run in found["runs"].values()) == sorted(
        run["metrics"] for run in before["runs"].values()
    )
    assert thickets("log", "latest", "--home", str(home.root))[0] == 0
    assert everything(other) == found


def test_a_store_that_is_away_at_the_end_ends_no_run(
    config: MakeConfig,
    finished: RunSummary,
    thickets: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, folder = home_of(config()), RunFolder(finished.folder)
    monkeypatch.setattr(logging_module, "_log_results", logging_module._log_results.with_options(retries=0))
    there = finished.tracking.mlflow_uri
    record = TrackingRecord.load(folder)
    record.having(uri=f"http://127.0.0.1:{vacant_port()}").save(folder)
    folder.unlogged.write_text("as a run does before it writes its result\n")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "8")  # minutes, if a store that is away were asked for more
    with no_hang():
        log_at_the_end(home, load_finished(home, folder))
    [told] = [line for line in caplog.messages if "the run goes on" in line]
    assert "Connection refused" in told
    assert f"thickets log {folder.run_id}" in caplog.text
    status, _, error = thickets("log", "latest", "--home", str(home.root))
    assert status == 1
    assert error.splitlines()[-1].startswith("error: tracking.uri: cannot reach")
    assert folder.unlogged.exists()

    record.save(folder)  # the store is back
    folder.unlogged.touch()
    before = everything(there)
    assert thickets("log", "latest", "--home", str(home.root))[0] == 0
    assert not folder.unlogged.exists()
    assert everything(there) == before


def test_the_next_run_looks_for_what_an_earlier_one_could_not_log(config: MakeConfig, finished: RunSummary) -> None:
    home, folder, uri = home_of(config()), RunFolder(finished.folder), finished.tracking.mlflow_uri
    home.run("killed").create().unlogged.touch()  # before its result was written
    assert list(logging_module._unlogged(home, uri)) == []
    folder.unlogged.touch()
    assert list(logging_module._unlogged(home, uri)) == [folder]
    assert list(logging_module._unlogged(home, "http://another")) == []
    with home.run_lock(folder.run_id):
        assert list(logging_module._unlogged(home, uri)) == []


def test_a_run_of_an_earlier_version_is_not_logged_again(
    config: MakeConfig, finished: RunSummary, thickets: Any
) -> None:
    (finished.folder / "tracking.json").unlink()
    status, _, error = thickets("log", "latest", "--home", str(home_of(config()).root))
    assert status == 2
    assert "run its config again" in error


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle_costs_nothing(
    config: MakeConfig, finished: RunSummary, tmp_path: Path, thickets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging_module, "_log_results", logging_module._log_results.with_options(retries=0))
    create_database(tmp_path / "server.db", None)
    home = Home(tmp_path / "away")
    with MlflowServer(tmp_path, tmp_path / "server.db") as server:
        served = config(
            tracking={"uri": server.uri},
            storage={"home": str(home.root)},
            scoring={"examples_per_block": 5, "candidates_per_shard": 2},
        )

        def stop_at_the_fourth(unit: int) -> None:
            if unit == 4:
                server.stop()

        summary = search(served, build=engine_that_tells(stop_at_the_fourth))
        folder = RunFolder(summary.folder)
        assert folder.unlogged.exists()
        assert summary.evaluation == finished.evaluation

        def fail(unit: int) -> None:
            pytest.fail("something was asked twice")

        # The store has been reached for this run, so that it may be away at the start as well.
        assert search(served, build=engine_that_tells(fail)).evaluation == finished.evaluation
        other = config(population={"size": 12}, tracking={"uri": server.uri}, storage={"home": str(home.root)})
        with pytest.raises(RunError, match=r"tracking\.uri: cannot reach"):  # a run that has never reached it
            search(other, build=engine_that_tells(fail))

        server.start()
        assert thickets("log", summary.run_id, "--home", str(home.root))[0] == 0
        assert not folder.unlogged.exists()
        now = everything(server.uri)
        assert main_run(now, summary)["status"] == "FINISHED"
        assert {run["status"] for run in now["runs"].values()} == {"FINISHED"}
        there = everything(finished.tracking.mlflow_uri)
        assert now["models"] == there["models"]
        # Tests draw no figures, the shared run aside.
        drawn = [name for name in main_run(there, finished)["files"] if not name.startswith("figures/")]
        assert main_run(now, summary)["files"] == drawn
        assert thickets("log", summary.run_id, "--home", str(home.root))[0] == 0
        assert everything(server.uri) == now
