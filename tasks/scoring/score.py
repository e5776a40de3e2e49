"""Scores shards in Prefect tasks; a shard's file is written when its task ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from contextvars import copy_context

from thickets.tasks.scoring.executor import Executor
from thickets.tasks.scoring.onlooker import now_and_then
from thickets.tasks.scoring.units import Shard, ShardReport
from thickets.tasks.task import task


def score_shards(
    executor: Executor,
    shards: Iterable[Shard],
    *,
    retries: int,
    on_tick: Callable[[], None] | None = None,
    tick_every_s: float = 30.0,
) -> None:
    """Score shards, each in a Prefect task, as many at a time as keep every engine of the executor busy.

    The first shard that fails for good stops the rest; finished shards stay, and the same run resumes from them.

    Args:
        executor: Scores them.
        shards: In the order in which they start.
        retries: Further attempts at a shard whose engine failed.
        on_tick: Called every `tick_every_s` on a thread of its own, so that handing out shards never waits for it; if
            it fails, scoring goes on.
        tick_every_s: Seconds between two calls.

    Raises:
        Exception: What the last attempt at a shard raised.
    """
    score = score_shard.with_options(retries=retries)
    what = "what is done now and then during scoring"
    ticking = nullcontext() if on_tick is None else now_and_then(on_tick, tick_every_s, what)
    waiting = iter(shards)
    under_way: set[Future[ShardReport]] = set()
    with ticking, ThreadPoolExecutor(executor.slots, thread_name_prefix="score") as threads:
        try:
            while True:
                while len(under_way) < executor.slots and (shard := next(waiting, None)) is not None:
                    # Prefect finds its flow run in the context, which a new thread does not have.
                    under_way.add(threads.submit(copy_context().run, score, executor, shard))
                if not under_way:
                    return
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                for future in finished:
                    future.result()
        except BaseException:
            executor.cancel()  # shards under way end early, so that the error is raised soon
            raise


@task("score-shard", task_run_name="score-{shard.id}", retry_delays_s=[1, 10, 60], retry_jitter_factor=0.5)
def score_shard(executor: Executor, shard: Shard) -> ShardReport:
    """Score one shard; the executor gives a failed one another engine, or a fresh one, at the next attempt."""
    return executor.score(shard)
