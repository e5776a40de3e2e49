"""Wraps the body of every flow: SIGTERM ends it, its lock shows that it is alive, and what it prints is logged.

A flow run that was killed before it is then marked as what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import disk_usage

from thickets.flows.runtime.engine_output import is_started_by_a_worker, logged_output
from thickets.flows.runtime.interrupt import ends_when_terminated
from thickets.flows.runtime.liveness import alive
from thickets.flows.runtime.prefect_server import wait_for_server
from thickets.flows.runtime.repair import repair_at_start
from thickets.flows.runtime.run_log import send_log_to_page
from thickets.storage.errors import RunError, ThicketsError
from thickets.storage.files import is_disk_full
from thickets.storage.home import Home


@contextmanager
def session(home: Path) -> Iterator[None]:
    """Wrap the body of a flow.

    Args:
        home: `storage.home`.

    Raises:
        InputError: The home cannot be written to.
        RunError: A disk was full; what was written before stays.
    """
    send_log_to_page()
    with ExitStack() as stack:
        stack.enter_context(ends_when_terminated())
        stack.enter_context(alive(Home(home).writable()))
        if is_started_by_a_worker():
            stack.enter_context(logged_output())
        stack.enter_context(_full_disk_told(home))
        repair_at_start(Home(home))
        yield
        wait_for_server()  # to be told how the flow ended


@contextmanager
def _full_disk_told(home: Path) -> Iterator[None]:
    """Turn any library's "disk full" error into one that says what to do."""
    try:
        yield
    except ThicketsError:
        raise
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise RunError(
            f"storage.home: a disk is full ({disk_usage(home).free / 2**20:,.0f} MiB are free in {home}); what is "
            "scored is kept: make room and run the same config again to go on"
        ) from error
