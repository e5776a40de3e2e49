"""What surrounds the work of every flow: it can be ended, it is known to be alive, and what it prints is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.engine_output import is_started_by_a_worker, logged_output
from flows.interrupt import ends_when_terminated
from flows.liveness import alive
from storage.layout import Home


@contextmanager
def session(home: Path) -> Iterator[None]:
    """Use around the body of a flow.

    Args:
        home: `storage.home`.

    Raises:
        InputError: The home cannot be written to.
    """
    with ExitStack() as stack:
        stack.enter_context(ends_when_terminated())
        stack.enter_context(alive(Home(home).writable()))
        if is_started_by_a_worker():
            stack.enter_context(logged_output())
        yield
