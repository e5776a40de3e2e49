"""Which isolations the sandbox's tests ran in: a machine may lack some, and the run says so in its last lines."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any, get_args

import pytest

from thickets.tasks.sandbox.isolation import works
from thickets.tasks.sandbox.launch import Isolation

ISOLATIONS: tuple[Isolation, ...] = get_args(Isolation)
STRONG: tuple[Isolation, ...] = ("bubblewrap", "landlock")
REQUIRED = "THICKETS_TEST_ISOLATIONS"
"""Environment variable: isolations, with commas between them, that must work where the tests run."""

_TEST = re.compile(rf"tests/tasks/sandbox/.*\[({'|'.join(ISOLATIONS)})\b")


def usable(isolation: Isolation) -> Isolation:
    """Return an isolation that works here; else skip the test, or fail it where the environment requires it."""
    if not works(isolation):
        if isolation in os.environ.get(REQUIRED, "").split(","):
            pytest.fail(f"{isolation} does not work on this machine, and {REQUIRED} names it")
        pytest.skip(f"{isolation} does not work on this machine")
    return isolation


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line how many tests of the sandbox ran in which isolation, and which are not to be had here."""
    ran, skipped = Counter[str](), Counter[str]()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if found := _TEST.match(getattr(report, "nodeid", "")):
                (skipped if outcome == "skipped" else ran)[found[1]] += outcome in ("passed", "failed", "skipped")
    if ran or skipped:
        parts = [f"{ran[name]} tests in {name}" for name in ISOLATIONS if ran[name]]
        lacking = [name for name in ISOLATIONS if skipped[name] and not ran[name]]
        parts += [f"{' and '.join(lacking)} not on this machine"] if lacking else []
        terminalreporter.section(f"sandbox: {', '.join(parts)}")
