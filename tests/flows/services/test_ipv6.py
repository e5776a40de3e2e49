"""`thickets up` at an address of IPv6, for real: the servers answer there, and the worker finds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stoppable_server import has_ipv6
from thickets.flows.services.launch import answers, ask
from thickets.flows.services.state import read_state

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_services_at_an_address_of_ipv6(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "MLFLOW_"))}
    environment |= {"PYTHONPATH": str(ROOT), "THICKETS_HOME": str(home)}

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "thickets", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stdout

    told = call("up", "--detach", "--host", "::1", "--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0")
    try:
        state = read_state(home)
        assert state is not None
        assert state.prefect_api.startswith("http://[::1]:")
        assert state.mlflow.startswith("http://[::1]:")
        assert f"prefect: {state.prefect_api.removesuffix('/api')}\n" in told
        assert answers(f"{state.prefect_api}/health", None)
        assert answers(f"{state.mlflow}/health", None)
        experiments = ask(f"{state.mlflow}/api/2.0/mlflow/experiments/search", None, {"max_results": 10})
        assert [each["name"] for each in experiments["experiments"]] == ["Default"]
        workers = ask(f"{state.prefect_api}/work_pools/thickets/workers/filter", None, {})
        assert [worker["status"] for worker in workers] == ["ONLINE"]
    finally:
        call("down")
