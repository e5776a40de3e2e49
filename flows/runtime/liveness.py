"""Who carries out a flow run: a lock per flow run, which the operating system lets go of when the process ends.

A SIGKILL leaves a flow run RUNNING on the server with nobody behind it. The lock tells the two apart at once and
without a clock, where a heartbeat needs minutes of silence (`thickets.flows.runtime.repair`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from prefect.context import FlowRunContext

from thickets.storage.home import Home


@contextmanager
def alive(home: Home) -> Iterator[None]:
    """Hold the lock of the flow run that this is called in; outside of a flow there is nothing to hold."""
    flow_run_id = current_flow_run_id()
    if flow_run_id is None:
        yield
        return
    path = home.flow_run_lock(flow_run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    # Taken for good: a second process with the same flow run is a retry of one whose first process has not ended yet.
    lock.acquire(timeout=60)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_carried_out(home: Home, flow_run_id: str) -> bool | None:
    """Whether a process carries out a flow run; None if it never was by one that uses this home."""
    path = home.flow_run_lock(flow_run_id)
    if not path.exists():
        return None
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def current_flow_run_id() -> str | None:
    """Prefect's id of the flow run that this is called in."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None
