"""The judging process: brings expressions to one form and compares them, one request at a time.

    python -m thickets.tasks.verifiers.expressions.process_main CHANNEL MEMORY_BYTES CPU_S

Started by `process`. It reads ``("form", text)`` and ``("equal", left, right)`` and answers each with the result; None
for what cannot be read. A request over the limit of processor time ends the process, by the kernel, also within one
operation of the interpreter: what called it sees the channel close. It ends with the process that started it.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
from multiprocessing.connection import Connection

from thickets.tasks.verifiers.expressions.tokens import Unreadable


def main() -> None:
    """Serve until the other end of the channel closes."""
    channel, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    limit_s = float(sys.argv[3])
    with contextlib.suppress(ValueError, OSError):  # not every system has it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, OSError):
        serve(Connection(channel), limit_s)


def serve(channel: Connection, limit_s: float) -> None:
    """Answer requests, each within its own processor time."""
    from thickets.tasks.verifiers.expressions import simplify  # takes a second

    simplify.form("(x+1)^2/x + sqrt(8)")  # and the first expression another
    channel.send("ready")
    # SIGPROF is not caught: no library can hold it up.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while True:
        what, *texts = channel.recv()
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        try:
            answer = simplify.form(*texts) if what == "form" else simplify.equal(*texts)
        except MemoryError:
            raise
        except (Unreadable, RecursionError):
            answer = None
        except Exception:  # SymPy raises whatever it likes; what it cannot do is not read
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        channel.send(answer)


if __name__ == "__main__":
    main()
