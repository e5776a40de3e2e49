"""Runs in an engine's own process: one worker, fed through a channel; ends with the process that started it.

    python -m thickets.tasks.scoring.executors.engine_main CHANNEL PARENT     (a file descriptor and a process id)

Started by `executors.engine_process`. The first message in is a `ScoringJob`, every further one an `Ask`.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from thickets.tasks.child_process import die_with
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.log_lines import LineSender
from thickets.tasks.scoring.executors.messages import Ask, Failed, Generated, Message, Ready, ShardDone, UnitDone
from thickets.tasks.scoring.units import UnitReport
from thickets.tasks.scoring.worker import SHARDS_PER_ENGINE, ScoringWorker


class EngineMain:
    """The worker and its channel; shards are scored on threads of their own, as many as a worker takes at a time."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._under_way = threading.local()

    def serve(self, name: str) -> None:
        """Score every shard that the channel brings, until it ends."""
        LineSender(self._send)
        job: ScoringJob = self._channel.recv()
        try:
            worker = job.open_worker(
                socket.gethostname(), name, on_unit=self._on_unit, on_generated=lambda: self._send(Generated())
            )
            worker.start()
        except BaseException as error:
            self._send(Failed.by(None, error))
            return
        self._send(Ready())
        threads = ThreadPoolExecutor(SHARDS_PER_ENGINE, thread_name_prefix="score")
        while True:
            threads.submit(self._score, worker, self._channel.recv())

    def _score(self, worker: ScoringWorker, request: Ask) -> None:
        self._under_way.number = request.number
        try:
            self._send(ShardDone(request.number, worker.score(request.shard)))
        except BaseException as error:
            self._send(Failed.by(request.number, error))

    def _on_unit(self, report: UnitReport) -> None:
        self._send(UnitDone(self._under_way.number, report))  # a worker reports on the thread of the shard

    def _send(self, message: Message) -> None:
        with self._lock:
            self._channel.send(message)


def main() -> None:
    """Serve until the other end of the channel closes, then end at once, even within a unit."""
    channel, parent = map(int, sys.argv[1:])
    die_with(parent)
    try:
        EngineMain(Connection(channel)).serve(f"local:{os.getpid()}")
    except (EOFError, OSError):  # the other end is closed
        pass
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a unit may take minutes and its answers have no reader; no shard under way has a file


if __name__ == "__main__":
    main()
