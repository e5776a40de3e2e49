"""Which processes are those that `thickets up` has started, whatever the clock says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from thickets.flows.services.detached import stop
from thickets.flows.services.state import ProcessMark, ServiceRow, ServicesState, mark, read_state, write_state


@pytest.fixture
def service() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stays, in a session of its own as every service is."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def after_a_step(of: ProcessMark, seconds: float) -> ProcessMark:
    """What was written before the clock, and with it Linux's time of the boot, moved by some seconds."""
    return of.model_copy(update={"created": of.created - seconds})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the time of a start stays what it was")
@pytest.mark.parametrize("seconds", [0.0, 1.0, -3600.0])
def test_down_stops_the_services_after_the_clock_was_stepped(
    service: subprocess.Popen[bytes], tmp_path: Path, seconds: float
) -> None:
    started = mark(service.pid)
    assert started is not None
    row = ServiceRow(name="prefect", address="here", process=after_a_step(started, seconds))
    gone = ProcessMark(pid=service.pid, created=0.0, since_boot="another boot 1")
    state = ServicesState(
        supervisor=gone, since=1.0, prefect_api="", mlflow="", needs_credentials=False, services=[row]
    )
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert stop(tmp_path)
    assert mark(service.pid) is None
    assert read_state(tmp_path) is None


def test_another_process_with_the_same_number_is_another() -> None:
    here = mark(psutil.Process().pid)
    assert here is not None
    assert here.is_alive
    if here.since_boot is not None:
        boot, ticks = here.since_boot.split()
        for other in (f"{boot} {int(ticks) + 1}", f"another-boot {ticks}"):
            assert not here.model_copy(update={"since_boot": other}).is_alive
    # As an earlier version wrote it, or as other systems do.
    assert ProcessMark(pid=here.pid, created=here.created + 0.5).is_alive
    assert not ProcessMark(pid=here.pid, created=here.created - 60).is_alive
