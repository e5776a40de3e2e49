"""The `Executor` protocol: finds an engine for a shard. Prefect decides which shards run, and retries them."""

from __future__ import annotations

from typing import Protocol

from thickets.tasks.scoring.units import Shard, ShardReport


class Executor(Protocol):
    """Scores shards on one engine or on many.

    Attributes:
        n_engines: Engines that score at once.
        slots: Shards to have under way so that no engine waits.
    """

    n_engines: int
    slots: int

    def score(self, shard: Shard) -> ShardReport:
        """Score a shard; blocks until its file is written. Any number of threads may call this at once.

        Raises:
            ThicketsError: The input or the data is at fault; trying again would not help.
            Exception: The engine failed; another attempt gets another engine, or a fresh one.
        """

    def cancel(self) -> None:
        """Start nothing more; calls of `score` under way end soon, with an error."""

    def close(self) -> None:
        """Close every engine."""
