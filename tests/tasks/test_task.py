"""The task decorator keeps what it wraps, and only errors that may pass are tried again."""

from __future__ import annotations

import pytest
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

from thickets.storage.errors import InputError, OutOfMemoryError, RunError, TransientError
from thickets.tasks.task import is_worth_a_retry, task


def test_a_task_is_the_function_without_caching_and_with_its_own_delays() -> None:
    @task("add", retries=3, retry_delays_s=[1], timeout_s=9)
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    assert (add.name, add.retries, add.retry_delay_seconds, add.timeout_seconds) == ("add", 3, [1], 9)
    assert add.cache_policy == NO_CACHE
    assert add.persist_result is False
    assert add.retry_condition_fn is is_worth_a_retry
    assert add.fn(1, 2) == 3


@pytest.mark.parametrize(
    ("error", "is_worth_it"),
    [
        (InputError("wrong"), False),
        (RunError("cannot go on"), False),
        (TransientError("the server restarts"), True),
        (OutOfMemoryError("another process has it"), True),
        (OSError("the network"), True),
    ],
)
def test_our_own_errors_come_again_unless_they_are_transient(error: Exception, is_worth_it: bool) -> None:
    assert is_worth_a_retry(None, None, Failed(data=error)) is is_worth_it
