"""What every Prefect task here has in common."""

from __future__ import annotations

from typing import Any

from thickets.storage.errors import ThicketsError, TransientError


def is_worth_a_retry(task: Any, task_run: Any, state: Any) -> bool:
    """Prefect's retry condition.

    Worth one: a lost engine, memory that another process had, the network, a server that restarts. Not worth one: our
    own errors, which are about input, configuration or data and come again, unless they say otherwise.
    """
    error = state.result(raise_on_failure=False)
    return isinstance(error, TransientError) or not isinstance(error, ThicketsError)
