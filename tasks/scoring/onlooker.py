"""What only watches a run (a tick, a display) never ends it and never holds it up: a guard for such calls, a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Generic, ParamSpec

log = logging.getLogger(__name__)

P = ParamSpec("P")


class Onlooker(Generic[P]):
    """A call whose failure is logged and goes no further; while it keeps failing, only the first time."""

    def __init__(self, call: Callable[P, None], what: str) -> None:
        """Call nothing yet.

        Args:
            call: What is called.
            what: What has not been done when it fails, for the log.
        """
        self._call, self._what = call, what
        self._is_failing = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Make the call."""
        try:
            self._call(*args, **kwargs)
        except Exception as error:
            if not self._is_failing:
                words = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("%s failed, and is tried again later; the run goes on: %s", self._what, words)
            self._is_failing = True
        else:
            self._is_failing = False


@contextmanager
def now_and_then(call: Callable[[], None], every_s: float, what: str) -> Iterator[None]:
    """Make a call every so often on a thread of its own, guarded as an `Onlooker`; for the body of a ``with``.

    A call that is under way at the end is waited for, so that nobody else is at what it does.

    Args:
        call: What is called, in the context (Prefect's run) of this call.
        every_s: Seconds from the beginning to the first call, and from the end of each to the next.
        what: What has not been done when it fails, for the log.
    """
    guarded, is_over = Onlooker(call, what), threading.Event()

    def work() -> None:
        while not is_over.wait(every_s):
            guarded()

    thread = threading.Thread(target=copy_context().run, args=(work,), name="now-and-then", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
