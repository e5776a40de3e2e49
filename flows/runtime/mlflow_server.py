"""What a run does while MLflow is away: it goes on. `thickets log` has what is missing from the run's folder later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from thickets.flows.runtime.environment import log


@contextmanager
def tracked(what: str) -> Iterator[None]:
    """Go on if MLflow does not take what is logged inside, and say so in one line.

    Whatever a flow logs goes through here once MLflow has been reached: it is for whoever looks later, and answers and
    results lie in our own files.

    Args:
        what: What MLflow does not get, for that line.
    """
    try:
        yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        log.warning(f"MLflow has not taken {what}; the run goes on: {reason}")
