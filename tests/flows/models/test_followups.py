"""The flows about a finished run: the limit of the device is held meanwhile, and nothing is left running by a crash."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed

from thickets.flows import followups
from thickets.flows.placement.accelerator import create_limits
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.repair import end_mlflow_runs
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import FLOW_RUN_TAG, RUN_ID_TAG


@pytest.fixture(autouse=True)
def _home_of_the_worker(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THICKETS_HOME", str(home.root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def limit(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The CPU's limit, of a machine of its own: the server is that of other tests too."""
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    names = create_limits()
    yield "accelerator:another:cpu"
    with get_client(sync_client=True) as client:
        for name in names:
            client.delete_global_concurrency_limit_by_name(name)


def test_an_evaluation_holds_the_device_and_gives_it_back(
    run: RunSummary, limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "new.jsonl"
    data.write_text(json.dumps({"question": "Which is the largest number: 3 or 7?", "answer": "7"}) + "\n")

    def slots() -> int:
        with get_client(sync_client=True) as client:
            return client.read_global_concurrency_limit_by_name(limit).active_slots

    held: list[int] = []
    really = followups.reevaluate

    def watched(*arguments: Any, **options: Any) -> Any:
        held.append(slots())
        return really(*arguments, **options)

    monkeypatch.setattr(followups, "reevaluate", watched)
    found = followups.evaluate(model=run.run_id, data=str(data))
    assert found.accuracy.n == 1
    assert held == [1]
    assert slots() == 0


def test_a_crash_of_a_flow_without_a_configuration_ends_its_mlflow_runs(home: Home, client: Any) -> None:
    flow_run_id = uuid4()
    left = Tracker.start(home, "thickets", "left", {RUN_ID_TAG: "left", FLOW_RUN_TAG: str(flow_run_id)})
    dead = FlowRun(id=flow_run_id, flow_id=uuid4(), name="distill-latest", parameters={"run": "latest"})
    end_mlflow_runs(followups.distill_run, dead, Crashed())
    assert client.get_run(left.run_id).info.status == "KILLED"
    assert end_mlflow_runs in followups.distill_run.on_crashed_hooks
