"""inspect_ai runs a task through `thickets serve`, and finds right what our own verdicts find right.

`INSPECT_PYTHON` names the Python of another environment that has it, where its requirements do not fit ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.serve.conftest import serving
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.serving import Voter, open_ensemble

PYTHON = os.environ.get("INSPECT_PYTHON", sys.executable)
N = 50


def has_inspect() -> bool:
    return subprocess.run([PYTHON, "-c", "import inspect_ai"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_inspect_finds_right_what_we_find_right(home: Home, run: RunSummary, tmp_path: Path) -> None:
    if not has_inspect():
        pytest.skip(f"inspect-ai is not installed for {PYTHON}")
    manifest = EnsembleManifest.load(home.run(run.run_id).manifest)
    expected = {}
    for name, voters in {"latest": None, "latest:base": [Voter(None)]}.items():
        answerer = open_ensemble(manifest, device="cpu", voters=voters)
        examples = answerer.problem.examples(N, 12345)
        answers = answerer.answer(examples).rows
        verdicts = [answerer.judge.of_answer(row.answer, each) for row, each in zip(answers, examples, strict=True)]
        expected[name] = sorted(each.id for each, verdict in zip(examples, verdicts, strict=True) if verdict.correct)
        answerer.close()
    assert 0 < len(expected["latest"]) < N
    assert expected["latest"] != expected["latest:base"]  # else the comparison says little
    samples = tmp_path / "samples.json"
    samples.write_text(json.dumps([{"id": e.id, "question": e.question, "answer": e.answer} for e in examples]))
    script = Path(__file__).with_name("inspect_task.py")
    with serving(home, "latest", "--wrap") as server:
        environment = {**os.environ, "LOCAL_BASE_URL": server.url, "LOCAL_API_KEY": "none"}
        environment.pop("PYTHONPATH", None)
        for name, right in expected.items():
            command = [PYTHON, str(script), str(samples), name, str(tmp_path / "logs")]
            done = subprocess.run(
                command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stderr
            found = json.loads(done.stdout.splitlines()[-1])
            assert found["right"] == right
            assert found["accuracy"] == pytest.approx(len(right) / N)
