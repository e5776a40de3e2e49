"""What runs in an engine's own process: one worker, fed through a channel, and gone when whoever started it is.

    python -m thickets.tasks.scoring.executors.engine_main CHANNEL PARENT     (a file descriptor and a process id)

Started by `executors.engine_process`. The first message in is a `ScoringJob`, every further one an `Ask`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.messages import Ask, Failed, Message, Ready, ShardDone, UnitDone
from thickets.tasks.scoring.units import UnitReport
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, ScoringWorker

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class EngineMain:
    """The worker and its channel; shards are scored on threads of their own, as many as a worker takes at a time."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._under_way = threading.local()

    def serve(self, name: str) -> None:
        """Score what is asked for until the channel ends."""
        job: ScoringJob = self._channel.recv()
        try:
            worker = job.open_worker(socket.gethostname(), name, on_unit=self._on_unit)
            worker.start()
        except BaseException as error:
            self._say(Failed.by(None, error))
            return
        self._say(Ready())
        threads = ThreadPoolExecutor(SHARDS_PER_ENGINE, thread_name_prefix="score")
        while True:
            threads.submit(self._score, worker, self._channel.recv())

    def _score(self, worker: ScoringWorker, asked: Ask) -> None:
        self._under_way.number = asked.number
        try:
            self._say(ShardDone(asked.number, worker.score(asked.shard)))
        except BaseException as error:
            self._say(Failed.by(asked.number, error))

    def _on_unit(self, report: UnitReport) -> None:
        self._say(UnitDone(self._under_way.number, report))  # a worker reports on the thread of the shard

    def _say(self, message: Message) -> None:
        with self._lock:
            self._channel.send(message)


def main() -> None:
    """Serve, and end with the other end of the channel, whatever the engine is at."""
    channel, parent = map(int, sys.argv[1:])
    die_with(parent)
    try:
        EngineMain(Connection(channel)).serve(f"local:{os.getpid()}")
    except (EOFError, OSError):  # nobody is there any more
        pass
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a unit of generation takes minutes and nobody wants it; shards under way have no file yet


def die_with(parent: int) -> None:
    """Have this process killed when the thread that started it ends, so that none is left behind a SIGKILL.

    The end of the channel tells it too, everywhere; but not while this process is stopped or a library holds on to the
    interpreter.

    Args:
        parent: The process that started this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before we could say so
        os._exit(0)


if __name__ == "__main__":
    main()
