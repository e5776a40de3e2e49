"""What only watches a run (a tick, a display) never ends it: the one guard that such calls go through."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

log = logging.getLogger(__name__)

P = ParamSpec("P")


class Onlooker(Generic[P]):
    """A call whose failure is logged and goes no further; while it keeps failing, only the first time."""

    def __init__(self, call: Callable[P, None], what: str) -> None:
        """Call nothing yet.

        Args:
            call: What is called.
            what: What has not been done when it fails, for the log.
        """
        self._call, self._what = call, what
        self._is_failing = False

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Make the call."""
        try:
            self._call(*args, **kwargs)
        except Exception as error:
            if not self._is_failing:
                words = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("%s failed, and is tried again later; the run goes on: %s", self._what, words)
            self._is_failing = True
        else:
            self._is_failing = False
