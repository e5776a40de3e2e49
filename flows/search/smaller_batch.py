"""An engine whose first batch does not fit into memory: the run starts over with batches half as large.

Only as long as nothing is scored. How many prompts are decoded together is part of what an answer depends on, so the
smaller batch makes another run (DESIGN.md section 6); once there are scores, the user decides.
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
    """Memory ran out, at every attempt, before anything was scored."""


@contextmanager
def watch_first_batch(plan: RunPlan) -> Iterator[None]:
    """Tell memory that runs out before the first shard from memory that runs out later.

    Raises:
        BatchTooLargeError: Smaller batches are worth a try.
    """
    try:
        yield
    except OutOfMemoryError as error:
        if plan.config.engine.batch_size == 1 or list_shards(plan.shards):
            raise
        raise BatchTooLargeError(str(error)) from error


def with_smaller_batch(config: RunConfig, error: BatchTooLargeError) -> RunConfig:
    """The same run with batches half as large, and word of it."""
    size = config.engine.batch_size // 2
    log.warning(f"{error}; nothing is scored yet, so the run starts over with engine.batch_size {size}")
    return config.model_copy(update={"engine": config.engine.model_copy(update={"batch_size": size})})
