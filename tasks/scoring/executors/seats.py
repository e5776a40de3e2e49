"""The engines of a pool as this process sees them, and whose turn it is; the same for processes and for Ray's actors.

A pool makes engines, hears of them and ends them. Which of them gets a shard, what becomes of the shards of one that is
lost, and when one that shows no sign of life is given up, is decided here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from thickets.storage.errors import RunError, ThicketsError, TransientError
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, START_WITHIN_S

log = logging.getLogger("thickets.engines")


class RemoteEngineError(TransientError):
    """An engine in another process failed or was lost; another attempt may get another one."""


@dataclass(slots=True)
class Seat:
    """One engine, or the place of one.

    Attributes:
        name: For people; of the engine that is or was here.
        is_here: It can be given shards.
        is_coming: It is being started.
        has_failed: The last start came to nothing.
        has_built: Its model is in memory, so that the next sign of life is a finished unit's.
        n_under_way: Shards it has been given and not finished.
        heard_at: When it last showed a sign of life or was given work after a rest, by the monotonic clock.
    """

    name: str = "not started yet"
    is_here: bool = False
    is_coming: bool = False
    has_failed: bool = False
    has_built: bool = False
    n_under_way: int = 0
    heard_at: float = 0.0


SeatT = TypeVar("SeatT", bound=Seat)


class Seats(Generic[SeatT]):
    """All engines of a pool; any number of threads may use it at once."""

    def __init__(self, seats: Sequence[SeatT], patience_s: float, nobody_left: Callable[[], str]) -> None:
        """Begin with nobody here.

        Args:
            seats: One per engine.
            patience_s: How long a shard waits without any engine here before the run is given up.
            nobody_left: What to say then.
        """
        self._seats = tuple(seats)
        self._patience_s = patience_s
        self._nobody_left = nobody_left
        self._changed = threading.Condition()
        self._last_here = time.monotonic()
        self._is_cancelled = False
        self._n_asking = 0
        self._failed_starts: list[Exception] = []

    def __iter__(self) -> Iterator[SeatT]:
        return iter(self._seats)

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    @contextmanager
    def asking(self) -> Iterator[int]:
        """Count a shard that wants an engine, from before it has one until it is done with it.

        Yields:
            How many starts have failed before; for `one`.
        """
        with self._changed:
            self._n_asking += 1
            n_failed = len(self._failed_starts)
        try:
            yield n_failed
        finally:
            with self._changed:
                self._n_asking -= 1

    @contextmanager
    def one(self, n_failed: int = 0) -> Iterator[SeatT]:
        """The least busy engine, as soon as one has time; it is busier within the block.

        Args:
            n_failed: Failed starts that are not this shard's concern: those before it asked.

        Raises:
            RunError: The pool was cancelled, or nobody was here for as long as there is patience.
            Exception: What kept the last engine from starting.
        """
        seat = self._take(n_failed)
        try:
            yield seat
        finally:
            with self._changed:
                seat.n_under_way -= 1
                seat.heard_at = time.monotonic()
                self._changed.notify_all()

    def _take(self, n_failed: int) -> SeatT:
        entered = time.monotonic()
        with self._changed:
            while True:
                if self._is_cancelled:
                    raise RunError("scoring was cancelled")
                free = [seat for seat in self._seats if seat.is_here and seat.n_under_way < SHARDS_PER_ENGINE]
                if free:
                    seat = min(free, key=lambda seat: seat.n_under_way)
                    if seat.n_under_way == 0:
                        seat.heard_at = time.monotonic()
                    seat.n_under_way += 1
                    return seat
                if not any(seat.is_here for seat in self._seats):
                    for error in self._failed_starts[n_failed:]:
                        # Our own errors come again at every start; others may spare an engine that is still coming.
                        if _is_final(error) or not any(seat.is_coming for seat in self._seats):
                            raise error
                    if time.monotonic() - max(entered, self._last_here) > self._patience_s:
                        raise RunError(self._nobody_left())
                self._changed.wait(1.0)

    def call(self) -> list[SeatT]:
        """Empty seats whose engines are to be started now, so that there is one for every shard that asks.

        An engine that did not come the last time is tried again only while nobody is here.
        """
        with self._changed:
            n_there = sum(seat.is_here or seat.is_coming for seat in self._seats)
            called: list[SeatT] = []
            for seat in () if self._is_cancelled else sorted(self._seats, key=lambda seat: seat.has_failed):
                if n_there >= self._n_asking:
                    break
                if not (seat.is_here or seat.is_coming) and not (seat.has_failed and n_there):
                    seat.is_coming, n_there = True, n_there + 1
                    called.append(seat)
            return called

    def arrived(self, seat: SeatT, name: str, *, has_built: bool) -> None:
        """Take an engine into service."""
        with self._changed:
            seat.name, seat.is_here, seat.has_built = name, True, has_built
            seat.is_coming = seat.has_failed = False
            seat.heard_at = self._last_here = time.monotonic()
            self._changed.notify_all()
        log.info(f"engine {name} is ready")

    def heard(self, seat: SeatT, *, has_built: bool = True) -> None:
        """Note a sign of life."""
        with self._changed:
            seat.heard_at, seat.has_built = time.monotonic(), has_built

    def did_not_come(self, seat: SeatT, error: Exception) -> None:
        """Give up a start; shards that have nobody else fail with this error."""
        with self._changed:
            seat.is_coming, seat.has_failed = False, True
            self._failed_starts.append(error)
            self._changed.notify_all()
            others = any(other.is_here or other.is_coming for other in self._seats)
        if others and not self._is_cancelled:
            log.warning(f"an engine could not be started, the others go on without it: {error}")

    def lost(self, seat: SeatT, why: str) -> Exception:
        """Set an engine aside until it arrives again.

        Returns:
            What its shards fail with.
        """
        with self._changed:
            if self._is_cancelled:
                seat.is_here = False
                return RunError("scoring was cancelled")
            was_here, seat.is_here = seat.is_here, False
            if was_here:
                self._last_here = time.monotonic()
        if was_here:
            log.warning(f"engine {seat.name} is lost ({why}); its shards go to others")
        return RemoteEngineError(f"engine {seat.name} is lost: {why}")

    def overdue(self, seat: SeatT, within_s: float) -> str | None:
        """Say how an engine with work has been silent for longer than it may be.

        Args:
            seat: Which.
            within_s: How long the next sign of life may take, once the model is in memory.

        Returns:
            A reason for `lost`; None while there is still time.
        """
        allowed_s = within_s if seat.has_built else within_s + START_WITHIN_S
        silent_s = time.monotonic() - seat.heard_at
        if not seat.is_here or silent_s <= allowed_s:
            return None
        return f"no sign of life for {silent_s:.0f} s; scoring.unit_timeout_s allows {allowed_s:.0f}"

    def cancel(self) -> None:
        """Give nobody anything more; who waits for an engine stops waiting."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()


def _is_final(error: Exception) -> bool:
    return isinstance(error, ThicketsError) and not isinstance(error, TransientError)
