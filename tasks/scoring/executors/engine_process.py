"""Starts an engine in a process of its own and talks to it; `engine_main` runs in that process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import Pipe

from thickets.tasks.allocator import environment_that_keeps_memory
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.messages import Ask, Message

# Variables that libraries read on import; without them each starts as many threads as there are cores.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


class EngineProcess:
    """One child process. To be made on the thread that reads its messages: it is killed when that thread ends.

    Not `multiprocessing.Process`: that runs the script which started us once more in the child, for its functions.
    """

    def __init__(self, threads: int | None) -> None:
        """Start it.

        Args:
            threads: CPU threads; None: the libraries' choice.
        """
        ours, theirs = Pipe()
        environment = {**os.environ, **environment_that_keeps_memory()}
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        if threads is not None:
            environment |= dict.fromkeys(_THREADS, str(threads))
        with theirs:
            self._process = subprocess.Popen(
                # -P: the current folder stands on the path where it stands on ours, not in front.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "thickets.tasks.scoring.executors.engine_main",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C reaches this process alone; and `kill` ends what the engine has started too.
                process_group=0,
                env=environment,
            )
        self._channel = ours
        self._lock = threading.Lock()
        self.name = f"local:{self._process.pid}"

    def messages(self, job: ScoringJob) -> Iterator[Message]:
        """Send the job and yield the messages of the process until it ends."""
        with contextlib.suppress(EOFError, OSError):
            self._send(job)
            while True:
                yield self._channel.recv()

    def ask(self, request: Ask) -> None:
        """Send a shard; nothing happens if the process has ended."""
        with contextlib.suppress(OSError):
            self._send(request)

    def kill(self) -> None:
        """Kill it and the processes it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> str:
        """Wait for its end, and return how it ended, in words."""
        self.kill()  # what it has started may have outlived it
        status = self._process.wait()
        self._channel.close()
        if status >= 0:
            return f"its process ended with status {status}"
        return f"its process was ended by {signal.Signals(-status).name}"

    def _send(self, message: ScoringJob | Ask) -> None:
        with self._lock:
            self._channel.send(message)
