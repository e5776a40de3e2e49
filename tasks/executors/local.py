"""One engine in this process."""

from __future__ import annotations

from tasks.units import Shard, ShardReport
from tasks.worker import SHARDS_PER_ENGINE, ScoringWorker


class LocalExecutor:
    """The executor of one accelerator: no Ray, no second process."""

    n_engines = 1
    slots = SHARDS_PER_ENGINE

    def __init__(self, worker: ScoringWorker) -> None:
        self._worker = worker

    def score(self, shard: Shard) -> ShardReport:
        """See `Executor.score`."""
        return self._worker.score(shard)

    def cancel(self) -> None:
        """See `Executor.cancel`."""
        self._worker.cancel()

    def close(self) -> None:
        """See `Executor.close`."""
        self._worker.close()
