"""The benchmarks that drive a whole run still can."""

from __future__ import annotations

import pytest

from benchmarks.orchestration import measure

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.slow
def test_orchestration_measures_a_run_with_all_its_controls() -> None:
    found = measure(n_candidates=60, n_examples=4)
    assert found["answers"] == 240
    assert 0 < found["rest_s"] <= found["wall_s"]
    assert found["disk MB"] > 0
