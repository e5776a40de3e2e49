"""`mlflow models serve` answers over HTTP, with the ensemble and with a student."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flows.models.helpers import stored
from tests.patience import PATIENCE_S, wait_for
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home
from thickets.tasks.evaluation.voting import vote

pytestmark = pytest.mark.slow  # a server each


@contextmanager
def served(uri: str, store: str, log: Path) -> Iterator[str]:
    """Serve a model of a store on a free port of this machine; gives the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # MLflow starts uvicorn by its name, so the environment must be an activated one.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store, "PATH": path}
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=log.parent, start_new_session=True, env=environment
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: is_well(address) or server.poll() is not None, every_s=0.5)
        assert server.poll() is None, log.read_text()
        yield address
    finally:
        if server.poll() is None:
            os.killpg(server.pid, 15)
            server.wait(PATIENCE_S)


def is_well(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/ping", timeout=10).close()
    except OSError:
        return False
    return True


def post(address: str, body: dict[str, Any]) -> Any:
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", data, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return json.load(response)


def test_the_ensemble_answers_over_http(home: Home, run: RunSummary, client: Any, tmp_path: Path) -> None:
    cast, questions = stored(home, run)
    [output] = client.get_run(run.tracking.mlflow_run_id).outputs.model_outputs
    asked = questions["question"].to_list()[:8]
    with served(f"models:/{output.model_id}", run.tracking.mlflow_uri, tmp_path / "log") as address:
        columns = {"columns": ["question"], "data": [[question] for question in asked]}
        found = post(address, {"dataframe_split": columns, "params": {"return_votes": True}})["predictions"]
        assert [row["answer"] for row in found] == vote(cast, 5)["answer"].to_list()[:8]
        assert [len(json.loads(row["votes"])) for row in found] == [5] * 8
        early = post(address, {"dataframe_records": [{"question": asked[0]}]})["predictions"]
        assert (early[0]["answer"], early[0]["votes"]) == (found[0]["answer"], None)
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(address, {"dataframe_split": columns, "params": {"k": 6}})
        assert caught.value.code == 400
        assert "k: found 6; 1 to 5 experts can vote" in caught.value.read().decode()


def test_a_student_chats_over_http(run: RunSummary, student: str, tmp_path: Path) -> None:
    with served(f"models:/{student}", run.tracking.mlflow_uri, tmp_path / "log") as address:
        chat = {"messages": [{"role": "user", "content": "Which is the largest number: 3 or 4?"}], "max_tokens": 4}
        [reply] = post(address, chat)
        assert reply["choices"][0]["message"]["role"] == "assistant"
        assert reply["usage"]["completion_tokens"] <= 4
