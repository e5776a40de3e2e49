"""A flow run that was killed is marked by whoever starts next in its home, and no other one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from filelock import FileLock
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Cancelling, Completed, Running, State

from tests.stoppable_server import vacant_port
from thickets.flows.runtime.repair import repair, repair_at_start
from thickets.flows.runtime.session import session
from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import FLOW_RUN_TAG, RUN_ID_TAG

DEAD = replace(Holder.this(), pid=2**22 + 1)  # beyond the largest pid there is
ELSEWHERE = replace(DEAD, host="elsewhere", boot="another")

pytestmark = pytest.mark.usefixtures("prefect_server")


@flow
def any_flow() -> None:
    """Stands for flows of the home."""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def left(client: SyncPrefectClient, home: Home) -> Callable[[Holder | None, State], UUID]:
    """Make a flow run in a state, and the lock that a process has left."""

    def make(holder: Holder | None, state: State) -> UUID:
        run = client.create_flow_run(any_flow, state=state)
        lock = home.flow_run_lock(str(run.id))
        lock.parent.mkdir(exist_ok=True)
        lock.write_text("" if holder is None else f"{holder}\n")
        return run.id

    return make


def test_the_next_start_marks_what_was_killed(
    left: Callable[[Holder | None, State], UUID], client: SyncPrefectClient, home: Home
) -> None:
    killed, cancelled = left(DEAD, Running()), left(DEAD, Cancelling())
    tags = {RUN_ID_TAG: "a", FLOW_RUN_TAG: str(killed)}
    tracker = Tracker.start(home, "exp", "left", tags)

    @flow
    def next_one() -> None:
        with session(home.root):
            assert client.read_flow_run(killed).state_name == "Crashed"

    next_one()
    assert client.read_flow_run(cancelled).state_name == "Cancelled"
    assert tracker.client.get_run(tracker.run_id).info.status == "KILLED"
    assert not list((home.root / "flow-runs").iterdir())


def test_what_may_be_alive_is_left_alone(
    left: Callable[[Holder | None, State], UUID], client: SyncPrefectClient, home: Home
) -> None:
    held, elsewhere, unnamed = left(DEAD, Running()), left(ELSEWHERE, Running()), left(None, Running())
    with FileLock(home.flow_run_lock(str(held))):
        repair_at_start(home)
    assert {client.read_flow_run(run).state_name for run in (held, elsewhere, unnamed)} == {"Running"}


def test_locks_of_what_has_ended_go_and_those_of_another_server_stay(
    left: Callable[[Holder | None, State], UUID], home: Home
) -> None:
    ended = left(DEAD, Completed())
    others = home.flow_run_lock(str(uuid4()))
    others.write_text(str(DEAD))
    repair_at_start(home)
    assert [path.exists() for path in (home.flow_run_lock(str(ended)), others)] == [False, True]


def test_a_server_that_is_away_does_not_stop_the_start(
    left: Callable[[Holder | None, State], UUID], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(DEAD, Running())

    def away(**options: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr("thickets.flows.runtime.repair.get_client", away)
    repair_at_start(home)


def test_mlflow_that_is_away_is_told_by_the_next_start(
    left: Callable[[Holder | None, State], UUID],
    client: SyncPrefectClient,
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    killed = left(DEAD, Running())
    tracker = Tracker.start(home, "exp", "left", {RUN_ID_TAG: "a", FLOW_RUN_TAG: str(killed)})
    with monkeypatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{vacant_port()}")
        [repaired] = [each for each in repair(home) if each.flow_run_id == str(killed)]
    assert repaired.n_mlflow_runs is None
    assert "may still be marked as running: tracking.uri: cannot reach" in caplog.text
    assert client.read_flow_run(killed).state_name == "Crashed"
    assert tracker.client.get_run(tracker.run_id).info.status == "RUNNING"
    repair_at_start(home)
    assert tracker.client.get_run(tracker.run_id).info.status == "KILLED"
    assert not list((home.root / "flow-runs").iterdir())


def test_a_start_without_anything_left_asks_no_server(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thickets.flows.runtime.repair.get_client", lambda **options: pytest.fail("asked"))
    repair_at_start(home)
