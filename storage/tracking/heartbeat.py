"""Signs of life of an MLflow run, by which other machines tell one that works from one that was killed.

A store may be shared by machines that see neither each other's processes nor each other's locks. So a run says who
writes to it (`HOLDER_TAG`) and, every minute, that it still does (`ALIVE_TAG`).
"""

from __future__ import annotations

import contextvars
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

from thickets.storage.holder import Holder
from thickets.storage.tracking.store import ALIVE_TAG, HOLDER_TAG, check_reachable

log = logging.getLogger(__name__)

BEAT_EVERY_S = 60.0
# Servers are away for ten minutes, and clocks differ by some. A run that is taken for dead all the same says otherwise
# with its next sign of life.
LAPSED_AFTER = timedelta(minutes=30)


def sign_of_life() -> dict[str, str]:
    """Return the tags that say who writes to a run, and when."""
    return {HOLDER_TAG: str(Holder.this()), ALIVE_TAG: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}


def is_left(run: Any) -> bool:
    """Return whether nobody writes to a RUNNING run any more.

    Its process was on this machine and has ended, or it has given no sign of life for long.

    Args:
        run: An ``mlflow.entities.Run``.
    """
    holder = Holder.parse(run.data.tags.get(HOLDER_TAG, ""))
    return holder is not None and (holder.is_gone or _has_lapsed(run.data.tags.get(ALIVE_TAG)))


def is_held_here(run: Any) -> bool:
    """Return whether it is this process that was writing to a run.

    Args:
        run: An ``mlflow.entities.Run``.
    """
    return run.data.tags.get(HOLDER_TAG) == str(Holder.this())


class Heartbeat:
    """Gives a sign of life every minute, on a thread of its own; a store that is away is told of once."""

    def __init__(self, client: Any, uri: str, run_id: str) -> None:
        """Give none yet.

        Args:
            client: MLflow's, which threads may share.
            uri: Of its store.
            run_id: MLflow's id of the run.
        """
        self._client, self._uri, self._run_id = client, uri, run_id
        self._ended, self._beating = threading.Event(), threading.Lock()
        self._is_failing = False
        # In this call's context: what it logs belongs to the page of the flow run.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._work,), name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Give none from now on; one that is on its way is waited for."""
        with self._beating:
            self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(BEAT_EVERY_S):
            try:
                check_reachable(self._uri)
                self._beat()
                self._is_failing = False
            except Exception as error:  # it only watches
                if not self._is_failing:
                    reason = (str(error) or type(error).__name__).splitlines()[0]
                    log.warning("MLflow does not take that the run is alive; the run goes on: %s", reason)
                self._is_failing = True

    def _beat(self) -> None:
        with self._beating:
            if self._ended.is_set():
                return
            for name, value in sign_of_life().items():
                self._client.set_tag(self._run_id, name, value)
            if self._client.get_run(self._run_id).info.status == "KILLED":
                self._client.update_run(self._run_id, status="RUNNING")
                log.info("MLflow run %s was marked as killed; it is marked as running again", self._run_id)


def _has_lapsed(alive: str | None) -> bool:
    """Return whether the last sign of life is long past; what gives none may be alive."""
    try:
        last = datetime.fromisoformat(alive or "")
    except ValueError:
        return False
    return last.tzinfo is not None and datetime.now(UTC) - last > LAPSED_AFTER
