"""How well a program can be shut in on this machine: the strongest way that works is found by trying it."""

from __future__ import annotations

import shutil
from functools import lru_cache
from typing import get_args

from thickets.storage.errors import RunError
from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.run import run_tests


def strongest(wanted: tuple[Isolation, ...] = get_args(Isolation)) -> Isolation:
    """Return the strongest isolation that a program really runs in here, of those that may be used.

    Raises:
        RunError: None of them works.
    """
    for isolation in wanted:
        if works(isolation):
            return isolation
    raise RunError(f"no program can be run here in any of: {', '.join(wanted)}")


@lru_cache
def works(isolation: Isolation) -> bool:
    """Return whether a program runs in an isolation on this machine, by running one."""
    if isolation == "bubblewrap" and shutil.which("bwrap") is None:
        return False
    outcome = run_tests("def one():\n    return 1\n", ["assert one() == 1"], isolation=isolation)
    return outcome.passed == (True,)
