"""The other side of `process`: serves one request at a time, each within its own processor time.

A request over the limit ends the process, by the kernel, also within one operation of the interpreter or of a library
in C: what asked sees the channel close. The process ends with the one that started it.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

Answer = Callable[[str, list[str]], object]


def main(prepare: Callable[[], Answer]) -> None:
    """Serve until the other end of the channel closes; ``python -m MODULE CHANNEL MEMORY_BYTES CPU_S``.

    Args:
        prepare: Imports what is needed, in the limits, and returns what answers a request: its name and its texts give
            the answer, None for what cannot be read.
    """
    channel, memory_bytes, limit_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with contextlib.suppress(ValueError, OSError):  # not every system has it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, OSError):
        _serve(Connection(channel), limit_s, prepare)


def _serve(channel: Connection, limit_s: float, prepare: Callable[[], Answer]) -> None:
    answer = prepare()
    channel.send("ready")
    # SIGPROF is not caught: no library can hold it up.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while True:
        what, *texts = channel.recv()
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        found = answer(what, texts)
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send(found)
