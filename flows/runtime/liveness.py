"""A lock per flow run, held by the process that executes it; the operating system releases it when the process ends.

A SIGKILL leaves a flow run RUNNING on the server without a process. The lock shows this at once and without a clock,
where a heartbeat needs minutes of silence (`thickets.flows.runtime.repair`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from prefect.context import FlowRunContext

from thickets.storage.home import Home


@contextmanager
def alive(home: Home) -> Iterator[None]:
    """Hold the lock of the flow run that this is called in; do nothing outside of a flow."""
    flow_run_id = current_flow_run_id()
    if flow_run_id is None:
        yield
        return
    path = home.flow_run_lock(flow_run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    # Wait for it: a second process with the same flow run is a retry whose first process has not ended yet.
    lock.acquire(timeout=60)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_carried_out(home: Home, flow_run_id: str) -> bool | None:
    """Tell whether a process executes a flow run; None if no process that uses this home ever has."""
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
    """Return Prefect's id of the flow run that this is called in; None outside of a flow."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None
