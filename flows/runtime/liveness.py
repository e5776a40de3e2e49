"""A lock per flow run, held by the process that executes it; the operating system releases it when the process ends.

A SIGKILL leaves a flow run RUNNING on the server without a process. The lock shows this at once and without a clock,
where a heartbeat needs minutes of silence (`thickets.flows.runtime.repair`). The file names the process: on a disk that
several machines share, a lock may not be seen by all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout
from prefect.context import FlowRunContext

from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.locks import is_held


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
        path.write_text(f"{Holder.this()}\n", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def is_carried_out(home: Home, flow_run_id: str) -> bool | None:
    """Tell whether a process executes a flow run; None if no process that uses this home ever has."""
    path = home.flow_run_lock(flow_run_id)
    return is_held(path) if path.exists() else None


@contextmanager
def abandoned(home: Home) -> Iterator[dict[str, Holder]]:
    """Hold, and so keep others from taking, the locks of flow runs whose process on this machine has ended unasked.

    Yields:
        Those processes by Prefect's id of the flow run.
    """
    with ExitStack() as locks:
        found = {}
        for path in sorted((home.root / "flow-runs").glob("*.lock")):
            lock = FileLock(path, blocking=False)
            try:
                locks.enter_context(lock)
                holder = Holder.parse(path.read_text(encoding="utf-8", errors="replace"))
            except (Timeout, OSError):
                continue
            # Another machine's lock may look free here and be held there.
            if holder is not None and holder.is_on_this_machine:
                found[path.stem] = holder
        yield found


def current_flow_run_id() -> str | None:
    """Return Prefect's id of the flow run that this is called in; None outside of a flow."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else None
