"""What a process prints past Python's logging is in the flow run's log."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

from thickets.flows.runtime.engine_output import logged_output
from thickets.flows.runtime.liveness import current_flow_run_id


@pytest.mark.usefixtures("prefect_server")
def test_lines_of_processes_are_logged_and_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    @flow
    def printing() -> str | None:
        with logged_output(), logged_output():  # a flow within a flow does not log twice
            subprocess.run(["sh", "-c", "echo from a process >&2; printf '10%%\\r90%%\\n'"], check=True)
            os.write(2, b"12:34:56.789 | INFO    | Flow run 'x' - from Prefect's own console\n")
        print("afterwards")
        return current_flow_run_id()

    flow_run_id = printing()
    logged = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while not {"from a process", "90%"} <= set(found := [each.message for each in client.read_logs(logged)]):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
    assert found.count("from a process") == 1
    assert not any("own console" in line for line in found)
    out, err = capfd.readouterr()
    assert "from a process" in err
    assert "own console" in err
    assert "afterwards" in out
