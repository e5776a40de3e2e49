"""In a store that machines share, a run that works is told from one that was killed by its signs of life."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.patience import wait_for
from tests.stoppable_server import vacant_port
from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.tracking import heartbeat
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import ALIVE_TAG, HOLDER_TAG, RUN_ID_TAG

ELSEWHERE = replace(Holder.this(), host="elsewhere", boot="another", space="pid:[9]")
# A run of another machine, as this one sees it: its process works until it is killed.
ANOTHER_MACHINE = """
import socket, sys
from pathlib import Path
socket.gethostname = lambda: "elsewhere"
from thickets.storage import holder
holder._boot_id = lambda: "another"
from thickets.storage.home import Home
from thickets.storage.tracking import heartbeat
from thickets.storage.tracking.run import Tracker
heartbeat.BEAT_EVERY_S = 0.2
with Tracker.start(Home(Path(sys.argv[1])), "exp", "there", {"thickets.run_id": "same"}, uri=sys.argv[2]) as tracker:
    print(tracker.run_id, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shared.db"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def start(home: Home, uri: str, run_id: str, **tags: str) -> Tracker:
    return Tracker.start(home, "exp", run_id, {RUN_ID_TAG: run_id, **tags}, uri=uri)


def status(tracker: Tracker, run_id: str | None = None) -> str:
    return str(tracker.client.get_run(run_id or tracker.run_id).info.status)


def tags(tracker: Tracker) -> dict[str, str]:
    return dict(tracker.client.get_run(tracker.run_id).data.tags)


def ago(minutes: float) -> str:
    return f"{datetime.now(UTC) - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


def test_what_has_given_no_sign_of_life_for_long_is_marked_whatever_its_run(home: Home, uri: str) -> None:
    signs = {
        "a minute ago": ago(1),
        "during an outage": ago(11),
        "of a clock that is ahead": ago(-90),
        "long ago": ago(31),
        "none": "",
        "unreadable": "yesterday",
    }
    left = {
        name: start(home, uri, name, **{HOLDER_TAG: str(ELSEWHERE), ALIVE_TAG: alive}) for name, alive in signs.items()
    }
    foreign = start(home, uri, "not ours", **{HOLDER_TAG: "", ALIVE_TAG: ago(1000)})
    following = start(home, uri, "the next one")
    assert {name for name, each in left.items() if status(each) == "KILLED"} == {"long ago"}
    assert status(foreign) == status(following) == "RUNNING"


def test_a_live_run_of_another_machine_stays_and_a_killed_one_is_marked(
    home: Home, uri: str, python: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = python(ANOTHER_MACHINE, home.root / "there", uri)
    assert other.stdout is not None
    there = other.stdout.readline().strip()
    here = start(home, uri, "same")
    watched = Tracker(here.client, uri, here.experiment_id, there)
    began = tags(watched)[ALIVE_TAG]
    wait_for(lambda: tags(watched)[ALIVE_TAG] > began)
    start(home, uri, "another")
    assert status(here, there) == "RUNNING"
    other.kill()
    other.communicate()
    monkeypatch.setattr(heartbeat, "LAPSED_AFTER", timedelta(seconds=1))
    time.sleep(2.1)  # its last sign of life is given to the second
    start(home, uri, "a third")
    assert status(here, there) == "KILLED"


def test_the_process_that_goes_on_says_that_it_does_until_it_ends(
    home: Home, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 0.05)
    first = start(home, uri, "a", **{HOLDER_TAG: str(ELSEWHERE), ALIVE_TAG: ago(25)})
    with Tracker.reopen(uri, first.experiment_id, first.run_id) as again:
        wait_for(lambda: tags(again)[HOLDER_TAG] == str(Holder.this()) and tags(again)[ALIVE_TAG] > ago(1))
        again.client.set_terminated(again.run_id, "KILLED")  # by a machine whose clock is wrong
        wait_for(lambda: status(again) == "RUNNING")
    assert status(again) == "FINISHED"
    before = tags(again)
    time.sleep(1.2)
    assert tags(again) == before


def test_the_stages_of_a_run_have_its_signs_of_life(home: Home, uri: str) -> None:
    with start(home, uri, "a") as tracker, tracker.child("selection") as stage:
        assert tags(stage)[HOLDER_TAG] == str(Holder.this())
        assert tags(stage)[ALIVE_TAG] > ago(1)


def test_a_store_that_is_away_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_EVERY_S", 0.02)
    asked: list[str] = []

    def refuse(uri: str) -> None:
        asked.append(uri)
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr(heartbeat, "check_reachable", refuse)
    client: Any = None  # is not asked
    beating = heartbeat.Heartbeat(client, f"http://127.0.0.1:{vacant_port()}", "0" * 32)
    beating.start()
    wait_for(lambda: len(asked) >= 3)
    beating.stop()
    assert [line for line in caplog.messages if "Connection refused" in line] == [
        "MLflow does not take that the run is alive; the run goes on: Connection refused"
    ]
