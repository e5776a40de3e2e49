"""What a run does while the Prefect server is away: it goes on without showing itself, and waits only to say its end.

Artifacts, progress and slots are for whoever watches; answers and results lie in our own files. So whatever a flow
shows goes through `shown`, and `wait_for_server` comes before the few words that others wait for.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from thickets.flows.runtime.environment import log
from thickets.flows.runtime.liveness import current_flow_run_id
from thickets.flows.runtime.temporary_server import temporary_api_url

# A server that is restarted, or a machine that is, is back within minutes.
PATIENCE_S = 600.0
_POLL_S = 2.0

T = TypeVar("T")


@contextmanager
def shown(what: str) -> Iterator[None]:
    """Go on if what is done inside fails, and say so in one line.

    Args:
        what: What the server does not get, for that line.
    """
    try:
        yield
    except Exception as error:
        log.warning(f"the Prefect server has not taken {what}; the run goes on: {_in_words(error)}")


def show_markdown(text: str, key: str, description: str) -> None:
    """Put a text on the flow run's page if the server takes it now; do nothing outside of a flow."""
    if current_flow_run_id() is None:
        return
    with shown(f"the text {key!r}"):
        create_markdown_artifact(text, key=key, description=description)


def lasting_api_url() -> str | None:
    """Return the address of the Prefect server; None if it is a temporary one, which ends with this process."""
    url = PREFECT_API_URL.value()
    return None if not url or url == temporary_api_url() else str(url)


def wait_for_server(patience_s: float = PATIENCE_S) -> bool:
    """Wait until the Prefect server answers; a temporary one, which nobody would start again, is not waited for.

    Args:
        patience_s: The longest wait, in seconds.

    Returns:
        False if it has not answered.
    """
    if lasting_api_url() is None:
        return True
    deadline = time.monotonic() + patience_s
    told = False
    while (error := _unreachable()) is not None:
        if time.monotonic() > deadline:
            log.warning(f"the Prefect server did not come back within {patience_s:.0f} s")
            return False
        if not told:
            log.warning(f"waiting for the Prefect server, at most {patience_s / 60:.0f} minutes: {_in_words(error)}")
            told = True
        time.sleep(_POLL_S)
    if told:
        log.info("the Prefect server is back")
    return True


class LatestOnly(Generic[T]):
    """Sends values on a thread of its own, the newest first: whoever offers one never waits for a server.

    A value that is not sent when the next one comes is dropped. A failure is logged once, until a value arrives again.
    """

    def __init__(self, send: Callable[[T], None], what: str) -> None:
        """Start the thread.

        Args:
            send: Sends one value; called with the context (Prefect's run and settings) of this call.
            what: What the server does not get when that fails, for the log.
        """
        self._send, self._what = send, what
        self._changed = threading.Condition()
        self._waiting: list[T] = []  # one at most
        self._is_closed = False
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name="latest-only", daemon=True)
        self._thread.start()

    def offer(self, value: T) -> None:
        """Have a value sent in place of one that is still waiting; return at once."""
        with self._changed:
            self._waiting[:] = [value]
            self._changed.notify()

    def close(self, patience_s: float = 5.0) -> None:
        """Send what was offered last, and end; a server that takes longer than `patience_s` is left alone."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join(patience_s)

    def _work(self) -> None:
        failing = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                value = self._waiting.pop()
            try:
                self._send(value)
                failing = False
            except Exception as error:
                if not failing:
                    log.warning(f"the Prefect server does not take {self._what}; the run goes on: {_in_words(error)}")
                failing = True


def _unreachable() -> Exception | None:
    try:
        with get_client(sync_client=True) as client:
            return client.api_healthcheck()
    except Exception as error:  # entering the client asks the server for its version
        return error


def _in_words(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
