"""Runs tests on a program: two processes, one for each side, and what they say to each other passes through here."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from thickets.tasks.sandbox.launch import Isolation, command, environment

_LARGEST_LINE = 4 << 20
_MOST_CALLS = 100_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a program may use.

    Attributes:
        cpu_s: Whole seconds of processor time of each side.
        wall_s: Seconds by the clock, for the program and its tests together.
        memory_bytes: Memory of each side.
    """

    cpu_s: int = 3
    wall_s: float = 15.0
    memory_bytes: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a program.

    Attributes:
        passed: Whether each test passed.
        behaviour: A digest of everything that the tests saw of it, in the order in which they asked: two programs with
            the same one cannot be told apart by these tests. None for a program that never gave a value.
        notes: Why each test failed; empty for those that passed.
    """

    passed: tuple[bool, ...]
    behaviour: str | None
    notes: tuple[str, ...]


class _Ended(Exception):
    """A side is gone, is out of time, or says what is no line of JSON."""


def run_tests(
    program: str, tests: Sequence[str], *, setup: str = "", isolation: Isolation, bounds: Bounds | None = None
) -> Outcome:
    """Run tests on a program in two sandboxes.

    Args:
        program: Python; what it defines at its top level can be called by the tests.
        tests: Python, each run by itself; it passes if it comes to its end while the program is there.
        setup: Python run before each test, such as imports.
        isolation: How the processes are shut in; see `thickets.tasks.sandbox.launch`.
        bounds: What they may use.

    Raises:
        OSError: A process cannot be started.
    """
    bounds = bounds or Bounds()
    seen = _Seen()
    deadline = time.monotonic() + bounds.wall_s
    with _side("program_main", isolation, bounds) as asked, _side("tests_main", isolation, bounds) as asking:
        try:
            asked.say({"source": program}, deadline)
            begun = asked.hear(deadline)
        except _Ended as error:
            begun = {"raised": ["", str(error)]}
        if "value" not in begun:
            note = ": ".join(map(str, begun.get("raised", ["no reply"])))
            return Outcome((False,) * len(tests), None, (note,) * len(tests))
        try:
            asking.say({"names": begun["value"], "setup": setup, "tests": list(tests)}, deadline)
            passed, notes = _talk(asking, asked, seen, deadline, len(tests))
        except _Ended as error:
            passed, notes = [False] * len(tests), [f"the tests' process: {error}"] * len(tests)
    return Outcome(tuple(passed), seen.behaviour, tuple(notes))


def _talk(asking: _Side, asked: _Side, seen: _Seen, deadline: float, n_tests: int) -> tuple[list[bool], list[str]]:
    """Hand calls and replies over until the tests are through."""
    is_gone = False
    for _ in range(_MOST_CALLS):
        message = asking.hear(deadline)
        if "passed" in message:
            passed, notes = message["passed"], message["notes"]
            if len(passed) != n_tests or not all(isinstance(each, bool) for each in passed):
                raise _Ended("said something else")
            return passed, [str(note) for note in notes]
        if "test" in message:
            seen.add(message)
            continue
        reply: dict[str, Any] = {"gone": True}
        if not is_gone:
            try:
                asked.say(message["ask"], deadline)
                reply = asked.hear(deadline)
            except _Ended:
                is_gone = True
                asked.kill()
        if "call" not in reply:  # how often a program calls a function of the tests is its own affair
            seen.add(reply)
        # The tests go on where the program is out of time, to say what had passed before.
        deadline = max(deadline, time.monotonic() + 1.0) if is_gone else deadline
        asking.say(reply, deadline)
    raise _Ended("asked too often")


def _without_places(form: Any) -> Any:
    """Return a reply without the numbers of objects, and of an exception its kind alone."""
    if isinstance(form, dict):
        return {
            key: value[:1] if key == "raised" and isinstance(value, list) else _without_places(value)
            for key, value in form.items()
        }
    if isinstance(form, list):
        return ["r", *form[2:]] if form[:1] == ["r"] else [_without_places(each) for each in form]
    return form


class _Seen:
    """What the tests have seen of a program."""

    def __init__(self) -> None:
        self._digest, self._has_value = hashlib.sha256(), False

    def add(self, message: dict[str, Any]) -> None:
        self._has_value = self._has_value or "value" in message
        self._digest.update(json.dumps(_without_places(message), sort_keys=True).encode())

    @property
    def behaviour(self) -> str | None:
        return self._digest.hexdigest()[:16] if self._has_value else None


class _Side:
    """A process in a sandbox, spoken to by lines of JSON."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._in, False)
        self._read = bytearray()

    def say(self, message: Any, deadline: float) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        while left:
            self._wait(self._in, selectors.EVENT_WRITE, deadline)
            try:
                left = left[os.write(self._in, left) :]
            except OSError:
                raise _Ended("ended") from None

    def hear(self, deadline: float) -> dict[str, Any]:
        while (end := self._read.find(b"\n")) < 0:
            if len(self._read) > _LARGEST_LINE:
                raise _Ended("said too much")
            self._wait(self._out, selectors.EVENT_READ, deadline)
            if not (more := os.read(self._out, 1 << 16)):
                raise _Ended("ended")
            self._read += more
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise _Ended("said something else") from None
        if not isinstance(message, dict):
            raise _Ended("said something else")
        return message

    def kill(self) -> None:
        """End the process and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _Ended("out of time")


@contextlib.contextmanager
def _side(script: str, isolation: Isolation, bounds: Bounds) -> Iterator[_Side]:
    with tempfile.TemporaryDirectory(prefix="sandbox-") as empty:
        process = subprocess.Popen(
            command(isolation, script, bounds.cpu_s, bounds.memory_bytes),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=empty,
            env=environment(),
            start_new_session=True,
        )
        with process:
            side = _Side(process)
            try:
                yield side
            finally:
                side.kill()
