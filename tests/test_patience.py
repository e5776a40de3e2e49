"""No test fails because a machine is slow or busy: only `tests/patience.py` reads a clock."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.patience import no_blow_up, no_hang, wait_for

TESTS = Path(__file__).parent
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time"}
# Why it fails on no slow machine. `time.time()` is free: it is compared with the ages of files.
MAY_READ_A_CLOCK = {
    "patience.py": "the place for it",
    "flows/test_benchmarks.py": "what waits takes at least so long: a lower bound",
    "flows/test_command.py": "the clock of a command is what is tested, between two readings of it",
}


def clocks_read(source: str) -> Iterable[tuple[int, str]]:
    """Every use of a clock of `time`, whatever it is called there: its line, its name."""
    tree = ast.parse(source)
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "time"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time" and node.level == 0:
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            names = [node.attr]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.removesuffix("_ns") in CLOCKS)


def test_no_test_reads_a_clock_of_its_own() -> None:
    """A bound on time belongs to `tests.patience` (`wait_for`, `no_hang`, `no_blow_up`), a speed to `benchmarks/`."""
    found = {
        path.relative_to(TESTS).as_posix(): [f"line {line}: time.{name}" for line, name in used]
        for path in sorted(TESTS.rglob("*.py"))
        if (used := list(clocks_read(path.read_text(encoding="utf-8"))))
    }
    assert {path: uses for path, uses in found.items() if path not in MAY_READ_A_CLOCK} == {}
    assert found.keys() == MAY_READ_A_CLOCK.keys(), "an exception that is no more"


def test_the_scan_sees_clocks_by_any_name() -> None:
    source = "import time as t\nfrom time import perf_counter as p, sleep\nt.time()\nif t.monotonic_ns() < 1: pass"
    assert sorted(clocks_read(source)) == [(2, "perf_counter"), (4, "monotonic_ns")]


def test_what_is_waited_for_comes_back_and_what_never_comes_is_told() -> None:
    values = iter([0, None, "there"])
    assert wait_for(lambda: next(values), every_s=0.0) == "there"
    with pytest.raises(AssertionError, match=r"waited 0 s for .*<lambda>: it is still \[\]"):
        wait_for(lambda: [], patience_s=0.0)


def test_what_hangs_is_told_from_what_does_not() -> None:
    with no_hang():
        pass
    with pytest.raises(AssertionError, match=r"only what hangs takes 0\.01"), no_hang(0.01):
        time.sleep(0.02)


def test_what_blows_up_is_ended_and_what_only_waits_is_not() -> None:
    with no_blow_up(0.5):
        time.sleep(0.6)
    with pytest.raises(pytest.fail.Exception, match=r"took 0\.05 s of processor time"), no_blow_up(0.05):
        spin()


def spin() -> None:
    while True:
        pass
