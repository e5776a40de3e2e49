"""The one place where tests read a clock: a bound on time tells what hangs from what is only slow.

Machines are shared, and some are ten times slower than others: no test fails for that. How fast something is stands in
`benchmarks/`. What a test waits for gets `PATIENCE_S`, which costs nothing where it happens sooner.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import pytest

PATIENCE_S = 900.0
"""How long to wait for what must happen; on a busy machine a Ray engine was seen to take six minutes to its start."""
FOR_EVER_S = 2 * PATIENCE_S
"""What somebody waits who is not to be waited for: longer than any patience, so that none outlasts it."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], patience_s: float = PATIENCE_S, every_s: float = 0.05) -> T:
    """Return the first value of the condition that is true.

    Raises:
        AssertionError: There was none in all that time; says what the condition was at last.
    """
    end = time.monotonic() + patience_s
    while True:
        is_last = time.monotonic() >= end  # before asking: this process may itself be held up at any place
        if found := condition():
            return found
        assert not is_last, f"waited {patience_s:g} s for {condition.__qualname__}: it is still {found!r}"
        time.sleep(every_s)


@contextmanager
def no_hang(most_s: float = 120.0) -> Iterator[None]:
    """What the block does waits neither for ever nor for what takes longer than `most_s`."""
    began = time.monotonic()
    yield
    took_s = time.monotonic() - began
    assert took_s < most_s, f"took {took_s:.0f} s, where only what hangs takes {most_s:g}"


@contextmanager
def no_blow_up(most_s: float = 60.0) -> Iterator[None]:
    """What the block takes does not grow faster than what it is given; ended after `most_s` of processor time.

    Ended, and not judged afterwards: what grows with the square of a megabyte takes hours. Processor time of this
    process alone, so that others on the machine do not count. For the main thread.
    """

    def end(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"took {most_s:g} s of processor time, where only what grows faster than its input does")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, most_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
