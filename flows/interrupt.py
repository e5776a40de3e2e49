"""Ctrl-C ends a run within seconds, whatever the libraries below still want to report.

A terminal sends the signal to every process it has started, so that the temporary Prefect server and a local Ray end at
once, and Prefect then tries for minutes to reach that server. Nothing is lost by not waiting: every finished shard is
a file.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

MESSAGE = "error: interrupted; run the same command again to go on"
_GRACE_S = 6.0


@contextmanager
def ends_soon(grace_s: float = _GRACE_S) -> Iterator[None]:
    """Within the block, an interrupt says how to go on, and ends the process if that has not happened `grace_s` later.

    Only the main thread may use this; its own way out is a `KeyboardInterrupt`, as without it.
    """

    def on_interrupt(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        print(f"\n{MESSAGE}", file=sys.stderr, flush=True)
        # What comes now is noise: retries, lost connections, tracebacks of threads that were cut off.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        timer = threading.Timer(grace_s, _end)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is on_interrupt:
            signal.signal(signal.SIGINT, before)


def _end() -> None:
    """End this process and all it has started, without further ado."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    os._exit(128 + signal.SIGINT)  # as shells count
