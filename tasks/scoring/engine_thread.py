"""The thread that an engine runs on: makes calls in their order; one that never ends need not keep the process."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Call = tuple[Future[Any], Context, Callable[..., Any], tuple[Any, ...]]


class EngineThread:
    """Runs submitted calls on one thread.

    Python's exit waits for a `ThreadPoolExecutor`, even for a call that hangs. It waits for this thread too, because an
    engine that is cut off in a call can crash the process, but not after `give_up`.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._lock = threading.Lock()
        self._is_started = self._is_ended = False

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call a function after those submitted before it, in the context of this call: its log lines have a run.

        Raises:
            RuntimeError: The thread was told to end.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._is_ended:
                raise RuntimeError("the engine's thread has ended")
            if not self._is_started:
                self._is_started = True
                atexit.register(self._finish)
                self._thread.start()
            self._calls.put((future, copy_context(), function, arguments))
        return future

    def end(self) -> None:
        """Refuse further calls; those submitted before are made. Does not wait for them."""
        with self._lock:
            self._is_ended = True
        self._calls.put(None)

    def give_up(self) -> None:
        """Let the process exit even while a call is running."""
        atexit.unregister(self._finish)

    def _finish(self) -> None:
        self.end()
        self._thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, context, function, arguments = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(context.run(function, *arguments))
            except BaseException as error:
                future.set_exception(error)
            del call, future, context, function, arguments  # an idle thread must not keep an engine's weights alive
        atexit.unregister(self._finish)
