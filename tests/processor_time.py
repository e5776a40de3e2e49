"""A plugin of pytest: which tests took most processor time, and a failure where a fast one took too much.

Processor time and not wall time, because machines are shared; and a share of the whole and not seconds, because some
are ten times slower than others. What a test's ended child processes took counts as well;
what a fixture of a wider scope took counts as the fixture's, not as that of the test that happened to come first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

FAST_SHARE = 0.02
"""The most that a test without the marker `slow` may take of the processor time of all tests."""
_MANY = 1000
"""Tests that a run must have, so that its whole says how fast the machine is."""
_SHOWN = 10
_KEY = "processor_s"


def pytest_configure(config: pytest.Config) -> None:
    """Measure; with several processes, each measures its own tests and the first one tells of all."""
    config.pluginmanager.register(_ProcessorTime(), "processor-time")


class _ProcessorTime:
    def __init__(self) -> None:
        self._spent_by: list[tuple[float, str]] = []
        self._fast: list[tuple[float, str]] = []
        self._began = 0.0
        self._shared = 0.0  # by fixtures of a wider scope, since the present test began
        self._fixtures: list[tuple[str, float]] = []
        self._depth = 0

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        self._began, self._shared, self._fixtures = _spent(), 0.0, []
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        if fixturedef.scope == "function" or self._depth:
            return (yield)
        self._depth += 1
        before = _spent()
        try:
            return (yield)
        finally:
            self._depth -= 1
            spent = _spent() - before
            self._shared += spent
            self._fixtures.append((f"fixture {fixturedef.argname} ({fixturedef.scope})", spent))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        # A server counts when it has ended: that is the time of all its tests and not of the last one.
        before, last_of_file = _spent(), nextitem is None or nextitem.path != item.path
        try:
            return (yield)
        finally:
            if last_of_file:
                spent = _spent() - before
                self._shared += spent
                self._fixtures.append((f"what ended with {item.path.name}", spent))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        report = yield
        if call.when == "teardown":
            own = [(report.nodeid, _spent() - self._began - self._shared)]
            report.user_properties.append((_KEY, [*own, *self._fixtures]))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for key, rows in report.user_properties:
            if key == _KEY:
                self._spent_by += [(spent, name) for name, spent in rows]
                if "slow" not in report.keywords:
                    self._fast.append((rows[0][1], report.nodeid))

    @property
    def _too_slow(self) -> list[str]:
        if len(self._fast) < _MANY:
            return []
        most = FAST_SHARE * sum(spent for spent, _ in self._spent_by)
        return [name for spent, name in self._fast if spent > most]

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        if self._too_slow and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if hasattr(config, "workerinput"):
            return
        if path := os.environ.get("THICKETS_TEST_TIMES"):
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(f"{spent:.2f}\t{name}\n" for spent, name in sorted(self._spent_by, reverse=True))
        if not self._spent_by:
            return
        total = sum(spent for spent, _ in self._spent_by)
        # Of this process and all that have ended under it: collecting, and the Prefect server, are not in the total.
        title = f"processor time: {total:.0f} s of tests, {_spent():.0f} s of everything; where most of it went"
        terminalreporter.section(title)
        for spent, name in sorted(self._spent_by, reverse=True)[:_SHOWN]:
            terminalreporter.line(f"{spent:7.1f} s  {name}")
        for name in self._too_slow:
            terminalreporter.line(f"TOO SLOW ({FAST_SHARE:.0%} of all) for a test not marked slow: {name}", red=True)


def _spent() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
