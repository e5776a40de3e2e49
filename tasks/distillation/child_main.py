"""Runs in the process of a distillation's job, and ends with the process that started it.

    python -m thickets.tasks.distillation.child_main CHANNEL PARENT     (a file descriptor and a process id)

Started by `distillation.child`. The only message in is the job; the last one out is its result, or why there is none.
"""

from __future__ import annotations

import os
import sys
import threading
from multiprocessing.connection import Connection

from thickets.tasks.child_process import die_with
from thickets.tasks.distillation.child import Done, Told
from thickets.tasks.scoring.executors.log_lines import LineSender, LogLine
from thickets.tasks.scoring.executors.messages import Failed


def main() -> None:
    """Do the job, and end at once if the other end of the channel closes."""
    channel, parent = map(int, sys.argv[1:])
    die_with(parent)
    connection, lock = Connection(channel), threading.Lock()

    def send(message: Done | Failed | Told | LogLine) -> None:
        with lock:
            connection.send(message)

    try:
        job = connection.recv()
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        LineSender(send)
        send(Done(job.run(lambda *arguments: send(Told(arguments)))))
    except (EOFError, BrokenPipeError):  # the other end is closed
        pass
    except BaseException as error:
        send(Failed.by(None, error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _end_with(connection: Connection) -> None:
    """End this process when the channel does; a step may take minutes, and nobody waits for it."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(0)


if __name__ == "__main__":
    main()
