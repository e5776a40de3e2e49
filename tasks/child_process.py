"""Starts one of our modules in a process of its own, which ends with the thread that started it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing import Pipe
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ChildProcess:
    """One child process and the channel to it. To be made on the thread that reads its messages.

    Not `multiprocessing.Process`: that runs the script which started us once more in the child, for its functions.
    """

    def __init__(self, module: str, variables: Mapping[str, str] | None = None) -> None:
        """Start ``python -m module CHANNEL PARENT``: a file descriptor and a process id.

        Args:
            module: One that calls `die_with` at its start.
            variables: Of its environment, instead of ours.
        """
        ours, theirs = Pipe()
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment |= variables or {}
        with theirs:
            self._process = subprocess.Popen(
                # -P: the current folder stands on the path where it stands on ours, not in front.
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Ctrl-C reaches this process alone; and `kill` ends what the child has started too.
                process_group=0,
                env=environment,
            )
        self._channel = ours
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def conversation(self, first: Any) -> Iterator[Any]:
        """Send the first message and yield those of the process until it ends."""
        with contextlib.suppress(EOFError, OSError):
            self.send(first)
            while True:
                yield self._channel.recv()

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: The process has ended.
        """
        with self._lock:
            self._channel.send(message)

    def kill(self) -> None:
        """Kill it and the processes it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> str:
        """End it, wait for that, and return how it ended, in words."""
        self.kill()  # what it has started may have outlived it
        status = self._process.wait()
        self._channel.close()
        if status >= 0:
            return f"its process ended with status {status}"
        return f"its process was ended by {signal.Signals(-status).name}"


def die_with(parent: int) -> None:
    """Have this process killed when the thread that started it ends, so that none is left behind a SIGKILL.

    The channel's end has the same effect on every system, but not while this process is stopped or a library holds the
    interpreter.

    Args:
        parent: The process that started this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(0)
