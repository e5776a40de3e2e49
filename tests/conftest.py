"""Shared by all tests: quiet libraries, one Prefect server per session, and a tiny model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from thickets.flows.runtime.environment import set_command_line_defaults

# Tests run side by side; threads that wait for each other by spinning would take the cores from them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
set_command_line_defaults()  # before Prefect is imported by any test

import torch  # noqa: E402

from tests.tiny_model import make_tiny_model  # noqa: E402

torch.set_num_threads(1)  # a tiny model has nothing to share out between threads


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first, so that no process is left with one of them at the end (`--dist loadfile`)."""
    here = Path(__file__).parent
    first = ("flows/services", "flows/test_randopt", "tasks/engines/test_vllm", "flows")

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(here).as_posix()
        return next((place for place, start in enumerate(first) if name.startswith(start)), len(first))

    items.sort(key=place)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny float32 Llama with a chat template."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A temporary Prefect server and database for all tests of the session that run flows."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # Without the heartbeat a flow ends a second sooner.
    no_heartbeat = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    with prefect_test_harness(server_startup_timeout=120), no_heartbeat:
        yield
