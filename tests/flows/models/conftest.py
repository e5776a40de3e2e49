"""A run of the tiny model, its rival and its student, shared by the tests of models and of the registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from tests.flows.models.helpers import make_run, stored
from tests.flows.publishing import published
from tests.tiny_model import make_tiny_model
from thickets.flows.cli import main as cli
from thickets.flows.config.file import load_config
from thickets.flows.models.logged import KeptAnswers, log_checkpoint
from thickets.flows.models.materialize import materialize
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.tracking.run import Tracker


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    make_tiny_model(folder / "model")
    return folder


@pytest.fixture(scope="session")
def run(root: Path) -> RunSummary:
    with published():
        return make_run(root)


@pytest.fixture(scope="session")
def home(run: RunSummary) -> Home:
    return Home(run.folder.parents[1])


@pytest.fixture(scope="session")
def client(run: RunSummary) -> Any:
    return mlflow.MlflowClient(run.tracking.mlflow_uri)


@pytest.fixture(scope="session")
def model_folder(run: RunSummary, client: Any) -> Path:
    """The logged ensemble's folder."""
    [output] = client.get_run(run.tracking.mlflow_run_id).outputs.model_outputs
    return Path(client.get_logged_model(output.model_id).artifact_location.removeprefix("file://"))


@pytest.fixture
def thickets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Home):
    """Call the command line on the run's home; gives exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["thickets", *arguments, "--home", str(home.root)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call


@pytest.fixture(scope="session")
def rival(root: Path, run: RunSummary) -> RunSummary:
    """Another population, asked the same test questions."""
    return make_run(root, population={"size": 7, "sigmas": [0.05, 0.2], "seed": 1})


@pytest.fixture
def new_data(tmp_path: Path) -> Callable[..., str]:
    def write(rows: list[dict], name: str = "new.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture(scope="session")
def checkpoint(home: Home, run: RunSummary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expert as a checkpoint, in the student's place: one is logged like the other."""
    folder = tmp_path_factory.mktemp("student") / "checkpoint"
    materialize(home, RunFolder(run.folder), 1, folder)
    return folder


@pytest.fixture(scope="session")
def student(home: Home, run: RunSummary, checkpoint: Path) -> str:
    """MLflow's id of a logged student."""
    cast, questions = stored(home, run)
    single = cast.filter(pl.col("rank") == 1).select("example_id", "answer", "correct", "score")
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    config = load_config(str(run.folder / "config.yaml"))
    tags = {"thickets.run_id": f"{run.run_id}-student"}
    with Tracker.start(home, config.tracking.experiment, "student", tags) as tracker:
        answers = KeptAnswers(single, "0" * 64, manifest.problem)
        return log_checkpoint(
            tracker,
            "student",
            checkpoint,
            run.run_id,
            manifest.recipe,
            manifest.base.name,
            answers,
            questions["question"][0],
        )
