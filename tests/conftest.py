"""Shared by all tests: quiet libraries, one Prefect server per session, and a tiny model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from thickets.flows.runtime.environment import set_command_line_defaults

# Tests run side by side; threads that wait for each other by spinning would take the cores from them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
set_command_line_defaults()  # before Prefect is imported by any test

import torch  # noqa: E402

from tests.isolations import pytest_terminal_summary  # noqa: E402, F401 - a hook
from tests.made_once import made_once  # noqa: E402
from tests.tiny_model import make_tiny_model  # noqa: E402

torch.set_num_threads(1)  # a tiny model has nothing to share out between threads

settings.register_profile("fast", max_examples=25)
settings.register_profile("ci", max_examples=100)
settings.load_profile(os.environ.get("THICKETS_TEST_EXAMPLES", "fast"))

_SERVER = pytest.StashKey[str]()


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
    """Folder of a tiny float32 Llama with a chat template; the same one in every process."""
    return made_once(tmp_path_factory, "tiny", lambda folder: make_tiny_model(folder / "model")) / "model"


@contextmanager
def _prefect_server() -> Iterator[str]:
    import prefect.settings as names
    from prefect.testing.utilities import prefect_test_harness

    # A second of processor time for each run, and no test looks: the services' tests have servers of their own.
    unseen = {
        names.PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED: False,
        names.PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED: False,
        names.PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED: False,
    }
    with names.temporary_settings(unseen), prefect_test_harness(server_startup_timeout=120):
        yield str(names.PREFECT_API_URL.value())


_server_of_all = ExitStack()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start one Prefect server for all processes of a session, before the first of them."""
    if _SERVER not in (config := node.config.stash):
        config[_SERVER] = _server_of_all.enter_context(_prefect_server())
    node.workerinput["prefect_api_url"] = config[_SERVER]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End it."""
    _server_of_all.close()


@pytest.fixture(scope="session")
def prefect_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """A temporary Prefect server and database for all tests of the session that run flows."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with ExitStack() as stack:
        started = getattr(request.config, "workerinput", {}).get("prefect_api_url")
        url = started or stack.enter_context(_prefect_server())
        # Without the heartbeat a flow ends a second sooner.
        stack.enter_context(temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))
        yield
