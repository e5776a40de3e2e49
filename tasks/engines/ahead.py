"""Makes the next candidate's weights on another thread while the engine generates."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

from thickets.tasks.types import Weights


class Ahead:
    """Makes the weights of one candidate (or average) at a time; to be used from one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._making: tuple[Weights, Future[None]] | None = None

    def start(self, weights: Weights, make: Callable[[Weights], None]) -> None:
        """Call `make` on the other thread, after the call that is running there."""
        self._making = weights, self._thread.submit(copy_context().run, make, weights)

    def take(self, weights: Weights | None) -> bool:
        """Wait for the other thread and return whether it made these weights; others are discarded."""
        made, self._making = self._making, None
        if made is None:
            return False
        made[1].result()
        return made[0] == weights

    def close(self) -> None:
        """Wait for the other thread and end it."""
        self._thread.shutdown()
