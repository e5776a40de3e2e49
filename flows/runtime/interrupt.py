"""Ends a run within seconds of Ctrl-C, `kill` or a cancellation, whatever its libraries are still doing.

A unit of generation may take minutes on a CPU and cannot be stopped from outside; it ends with the process.
Nothing is lost by not waiting: every finished shard is a file.

- Ctrl-C: a terminal sends the signal to every process it has started, so that the temporary Prefect server and a local
  Ray end at once, and Prefect then tries for minutes to reach that server.
- SIGTERM is how a worker cancels a flow run. Prefect's own handler raises `TerminationSignal` in the flow, and must
  stay in place: the worker needs it to tell a cancellation from a crash.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = "error: interrupted; run the same command again to go on"
TERMINATED = "error: terminated; run the same command again to go on"
# Time to set the states in Prefect and MLflow; less than `thickets.flows.services.supervisor` waits for a worker.
_GRACE_S = 5.0


@contextmanager
def ends_when_terminated(grace_s: float = _GRACE_S) -> Iterator[None]:
    """Give a flow that gets SIGTERM within the block `grace_s` to clean up, then end its process and children."""
    from prefect.exceptions import TerminationSignal

    try:
        yield
    except TerminationSignal:
        _end_later(grace_s, signal.SIGTERM)
        raise


@contextmanager
def ends_soon(grace_s: float = _GRACE_S) -> Iterator[None]:
    """Print on Ctrl-C or SIGTERM within the block how to go on, and end every process after at most `grace_s`.

    Use it in the command line's main thread; Ctrl-C raises `KeyboardInterrupt` there, as without it.
    """

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        _say_and_silence(INTERRUPTED)
        _end_later(grace_s, signal.SIGINT)
        raise KeyboardInterrupt

    def on_terminate(signum: int, frame: FrameType | None) -> None:
        # Prefect has the signal while a flow runs, and passes it on when the flow has ended.
        _say_and_silence(TERMINATED)
        _end(signal.SIGTERM)

    handlers = {signal.SIGINT: on_interrupt, signal.SIGTERM: on_terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, before[number])


def _say_and_silence(message: str) -> None:
    print(f"\n{message}", file=sys.stderr, flush=True)
    # What comes now is noise: retries, lost connections, tracebacks of threads that were cut off.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _end_later(grace_s: float, number: signal.Signals) -> None:
    timer = threading.Timer(grace_s, _end, [number])
    timer.daemon = True
    timer.start()


def _end(number: signal.Signals) -> None:
    """Kill all children of this process, and end it at once."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(128 + number)  # as shells count
