"""The decorator of every Prefect task in Thickets, and the rule by which a failed task is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import prefect
from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task

from thickets.storage.errors import ThicketsError, TransientError

_RETRY_DELAYS_S = (2.0, 10.0)

P = ParamSpec("P")
R = TypeVar("R")


def task(
    name: str,
    *,
    retries: int = 0,
    retry_delays_s: Sequence[float] = _RETRY_DELAYS_S,
    retry_jitter_factor: float | None = None,
    timeout_s: float | None = None,
    task_run_name: str | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a function a Prefect task that is never cached: what lasts is in our own files.

    Args:
        name: The task's name on Prefect's pages.
        retries: Further attempts after an error that `is_worth_a_retry`.
        retry_delays_s: Seconds before each further attempt; the last holds for all that follow.
        retry_jitter_factor: How much a delay may vary, as a share of it.
        timeout_s: Seconds after which an attempt fails.
        task_run_name: The name of one task run, with the function's arguments in braces; None lets Prefect choose.
    """
    return prefect.task(
        name=name,
        task_run_name=task_run_name,
        retries=retries,
        retry_delay_seconds=list(retry_delays_s),
        retry_jitter_factor=retry_jitter_factor,
        retry_condition_fn=is_worth_a_retry,
        timeout_seconds=timeout_s,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Prefect's retry condition: True for errors that the same attempt may not meet again.

    Worth a retry: a lost engine, memory that another process had, the network, a server that restarts. Not worth one:
    our own errors, which are about input, configuration or data and come again, unless they are a `TransientError`.
    """
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError) or not isinstance(error, ThicketsError)
