"""Starts a run over with batches half as large if its first batch does not fit into memory.

Only as long as nothing is scored. How many prompts are decoded together is part of what an answer depends on, so the
smaller batch makes another run (docs/design.md#shards); once there are scores, the user decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan
from thickets.flows.runtime.environment import log
from thickets.storage.errors import OutOfMemoryError
from thickets.storage.shards.file import list_shards


class BatchTooLargeError(OutOfMemoryError):
    """Memory ran out, at every attempt, before anything was scored.

    Attributes:
        batch_size: Of the batch that was too large.
    """

    def __init__(self, reason: str, batch_size: int) -> None:
        super().__init__(reason)
        self.batch_size = batch_size


@contextmanager
def watch_first_batch(plan: RunPlan) -> Iterator[None]:
    """Turn an OutOfMemoryError before the first shard into a BatchTooLargeError; later ones pass through.

    Those of vLLM on a GPU too: what it takes there is planned, and its rows wait for room, so a smaller batch would
    help little and cost another start of the engine each time.

    Raises:
        BatchTooLargeError: Nothing is scored yet, and the batch can be halved.
    """
    try:
        yield
    except OutOfMemoryError as error:
        spec = plan.engine
        on_gpu = spec.kind == "vllm" and spec.device != "cpu"
        if on_gpu or spec.batch_size == 1 or list_shards(plan.shards):
            raise
        raise BatchTooLargeError(str(error), spec.batch_size) from error


def with_smaller_batch(config: RunConfig, error: BatchTooLargeError) -> RunConfig:
    """Return the configuration with batches half as large, and log that."""
    size = error.batch_size // 2
    log.warning(f"{error}; nothing is scored yet, so the run starts over with engine.batch_size {size}")
    return config.model_copy(update={"engine": config.engine.model_copy(update={"batch_size": size})})
