"""One engine in this process."""

from __future__ import annotations

from collections.abc import Iterable

from storage.shard_folder import ShardFolder
from tasks.types import Sampling
from tasks.units import Block, Shard, ShardReport
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

    def turn_to(self, blocks: Iterable[Block], sampling: Sampling, folder: ShardFolder) -> None:
        """See `ScoringWorker.turn_to`."""
        self._worker.turn_to(blocks, sampling, folder)

    def cancel(self) -> None:
        """See `Executor.cancel`."""
        self._worker.cancel()

    def close(self) -> None:
        """See `Executor.close`."""
        self._worker.close()
