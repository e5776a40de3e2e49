"""A logged model needs what its requirements name, and nothing else of this environment."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows.models.helpers import stored
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.tasks.evaluation.voting import vote

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow  # an environment each


def answered_there(model: Path) -> dict[str, Any]:
    """What a model answers to its input example in an environment of its own."""
    command = [sys.executable, "-m", "benchmarks.fresh_environment", str(model)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_ensemble_answers_where_only_its_requirements_are(home: Home, run: RunSummary, model_folder: Path) -> None:
    found = answered_there(model_folder)
    assert found["not installed"] == ["thickets", "prefect", "duckdb", "polars", "mlflow"]
    cast, questions = stored(home, run)
    assert questions["example_id"][0] == vote(cast, 5)["example_id"][0]
    assert found["answer"][0]["answer"] == vote(cast, 5)["answer"][0]


def test_a_student_answers_where_only_its_requirements_are(run: RunSummary, client: Any, student: str) -> None:
    folder = client.get_logged_model(student).artifact_location.removeprefix("file://")
    found = answered_there(Path(folder))
    assert {"thickets", "prefect", "duckdb", "mlflow"} <= set(found["not installed"])
    assert found["answer"][0]["choices"][0]["message"]["role"] == "assistant"
