"""Tracks the engines of an executor (ready, failed, overdue) and picks one for each shard.

The executor starts and ends engines (processes or Ray actors) and reports to the pool. The pool decides which engine
gets a shard, which error the shards of a lost engine fail with, and when a silent engine is overdue.
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
class PooledEngine:
    """The state of one engine, before its first start and between two starts too.

    Attributes:
        name: Of the engine that is or was running, for log lines.
        is_ready: It can be given shards.
        is_starting: It is being started.
        has_failed: The last start failed.
        has_built: Its model is in memory, so that the next sign of life is a finished unit's.
        n_under_way: Shards that it has been given and has not finished.
        last_sign_s: Monotonic clock at the last sign of life, or when it was given work after a rest.
    """

    name: str = "not started yet"
    is_ready: bool = False
    is_starting: bool = False
    has_failed: bool = False
    has_built: bool = False
    n_under_way: int = 0
    last_sign_s: float = 0.0


EngineT = TypeVar("EngineT", bound=PooledEngine)


class EnginePool(Generic[EngineT]):
    """All engines of an executor; any number of threads may use it at once."""

    def __init__(self, engines: Sequence[EngineT], patience_s: float, no_engine_message: Callable[[], str]) -> None:
        """Begin with no engine ready.

        Args:
            engines: The states of the engines, as many as there are to be.
            patience_s: How long a shard waits while no engine is ready before the run is given up.
            no_engine_message: Makes the message of the error raised then.
        """
        self._engines = tuple(engines)
        self._patience_s = patience_s
        self._no_engine_message = no_engine_message
        self._changed = threading.Condition()
        self._last_ready_s = time.monotonic()
        self._is_cancelled = False
        self._n_shards = 0
        self._failed_starts: list[Exception] = []

    def __iter__(self) -> Iterator[EngineT]:
        return iter(self._engines)

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._is_cancelled

    @contextmanager
    def shard_under_way(self) -> Iterator[int]:
        """Count a shard that needs an engine, from before it has one until the engine is done with it.

        Yields:
            How many starts have failed before; for `borrow`.
        """
        with self._changed:
            self._n_shards += 1
            n_failed = len(self._failed_starts)
        try:
            yield n_failed
        finally:
            with self._changed:
                self._n_shards -= 1

    @contextmanager
    def borrow(self, n_failed: int = 0) -> Iterator[EngineT]:
        """Wait for an engine with fewer than `SHARDS_PER_ENGINE` shards; count one more for the least busy.

        Args:
            n_failed: Starts that had failed before this shard came; their errors are not raised for it.

        Raises:
            RunError: The pool was cancelled, or no engine was ready for `patience_s`.
            Exception: What kept the last engine from starting.
        """
        engine = self._take(n_failed)
        try:
            yield engine
        finally:
            with self._changed:
                engine.n_under_way -= 1
                engine.last_sign_s = time.monotonic()
                self._changed.notify_all()

    def _take(self, n_failed: int) -> EngineT:
        entered = time.monotonic()
        with self._changed:
            while True:
                if self._is_cancelled:
                    raise RunError("scoring was cancelled")
                ready = [engine for engine in self._engines if engine.is_ready]
                free = [engine for engine in ready if engine.n_under_way < SHARDS_PER_ENGINE]
                if free:
                    engine = min(free, key=lambda engine: engine.n_under_way)
                    if engine.n_under_way == 0:
                        engine.last_sign_s = time.monotonic()
                    engine.n_under_way += 1
                    return engine
                if not ready:
                    for error in self._failed_starts[n_failed:]:
                        # Our own errors come again at every start; others may not hit one that is starting.
                        if _is_final(error) or not any(engine.is_starting for engine in self._engines):
                            raise error
                    if time.monotonic() - max(entered, self._last_ready_s) > self._patience_s:
                        raise RunError(self._no_engine_message())
                self._changed.wait(1.0)

    def engines_to_start(self) -> list[EngineT]:
        """Mark as starting, and return, as many engines as are missing to have one for every shard under way.

        An engine whose last start failed is tried again only while no other is ready or starting.
        """
        with self._changed:
            n_ready_or_starting = sum(engine.is_ready or engine.is_starting for engine in self._engines)
            to_start: list[EngineT] = []
            for engine in () if self._is_cancelled else sorted(self._engines, key=lambda engine: engine.has_failed):
                if n_ready_or_starting >= self._n_shards:
                    break
                if not (engine.is_ready or engine.is_starting) and not (engine.has_failed and n_ready_or_starting):
                    engine.is_starting, n_ready_or_starting = True, n_ready_or_starting + 1
                    to_start.append(engine)
            return to_start

    def ready(self, engine: EngineT, name: str, *, has_built: bool) -> None:
        """Mark an engine as ready for shards."""
        with self._changed:
            engine.name, engine.is_ready, engine.has_built = name, True, has_built
            engine.is_starting = engine.has_failed = False
            engine.last_sign_s = self._last_ready_s = time.monotonic()
            self._changed.notify_all()
        log.info(f"engine {name} is ready")

    def sign_of_life(self, engine: EngineT, *, has_built: bool = True) -> None:
        """Record that an engine has sent something."""
        with self._changed:
            engine.last_sign_s, engine.has_built = time.monotonic(), has_built

    def failed(self, engine: EngineT, error: Exception) -> None:
        """Mark a start as failed; shards that have no other engine fail with this error."""
        with self._changed:
            engine.is_starting, engine.has_failed = False, True
            self._failed_starts.append(error)
            self._changed.notify_all()
            others = any(other.is_ready or other.is_starting for other in self._engines)
        if others and not self._is_cancelled:
            log.warning(f"an engine could not be started, the others go on without it: {error}")

    def lost(self, engine: EngineT, why: str) -> Exception:
        """Mark an engine as not ready until `ready` is called again.

        Returns:
            What its shards fail with.
        """
        with self._changed:
            if self._is_cancelled:
                engine.is_ready = False
                return RunError("scoring was cancelled")
            was_ready, engine.is_ready = engine.is_ready, False
            if was_ready:
                self._last_ready_s = time.monotonic()
        if was_ready:
            log.warning(f"engine {engine.name} is lost ({why}); its shards go to others")
        return RemoteEngineError(f"engine {engine.name} is lost: {why}")

    def overdue(self, engine: EngineT, within_s: float) -> str | None:
        """Tell how long an engine has been silent if that is longer than allowed.

        Args:
            engine: One that has work.
            within_s: How long the next sign of life may take, once the model is in memory.

        Returns:
            A reason for `lost`; None while there is still time.
        """
        allowed_s = within_s if engine.has_built else within_s + START_WITHIN_S
        silent_s = time.monotonic() - engine.last_sign_s
        if not engine.is_ready or silent_s <= allowed_s:
            return None
        return f"no sign of life for {silent_s:.0f} s; scoring.unit_timeout_s allows {allowed_s:.0f}"

    def cancel(self) -> None:
        """Hand out no more engines; every waiting `borrow` raises."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()


def _is_final(error: Exception) -> bool:
    return isinstance(error, ThicketsError) and not isinstance(error, TransientError)
