"""The next candidate's weights, made on another thread while the engine generates."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from tasks.types import Candidate


class Ahead:
    """At most one candidate in the making; to be used from one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._making: tuple[Candidate, Future[None]] | None = None

    def start(self, candidate: Candidate, make: Callable[[Candidate], None]) -> None:
        """Call `make` on the other thread, after whatever it is at."""
        self._making = candidate, self._thread.submit(make, candidate)

    def take(self, candidate: Candidate | None) -> bool:
        """Wait for the other thread, and say whether what it has made is this candidate's; it is not kept for later."""
        made, self._making = self._making, None
        if made is None:
            return False
        made[1].result()
        return made[0] == candidate

    def close(self) -> None:
        """Wait for the other thread and end it."""
        self._thread.shutdown()
