"""Scores shards on one engine in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from thickets.storage.shards.folder import ShardFolder
from thickets.tasks.engines import Engine
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block, Shard, ShardReport
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, ScoringWorker
from thickets.tasks.types import Sampling


class LocalExecutor:
    """The executor of one accelerator: no Ray, no second process."""

    n_engines = 1
    slots = SHARDS_PER_ENGINE

    def __init__(self, worker: ScoringWorker) -> None:
        self._worker = worker

    def score(self, shard: Shard) -> ShardReport:
        """See `Executor.score`."""
        return self._worker.score(shard)

    def turn_to(
        self, judge: Judge, blocks: Iterable[Block], sampling: Sampling, folder: ShardFolder, verdicts: ShardFolder
    ) -> None:
        """See `ScoringWorker.turn_to`."""
        self._worker.turn_to(judge, blocks, sampling, folder, verdicts)

    def rebase(self, build: Callable[[], Engine], model_path: Path) -> None:
        """See `ScoringWorker.rebase`."""
        self._worker.rebase(build, model_path)

    def cancel(self) -> None:
        """See `Executor.cancel`."""
        self._worker.cancel()

    def close(self) -> None:
        """See `Executor.close`."""
        self._worker.close()
