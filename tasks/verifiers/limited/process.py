"""Judges in a process of its own, with limits: what hangs, crashes or eats memory costs an answer, never a run."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import OrderedDict
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from thickets.storage.errors import TransientError

log = logging.getLogger("thickets")

CPU_S = 1.0
"""Processor time for one request. Not time by the clock, so that a busy machine gives no other verdicts."""
WAIT_S = 20.0
"""Time by the clock for one request, for a process that is stopped or starved."""
MEMORY_BYTES = 1 << 30
_START_S = 120.0
# Data is read again in the same process, and in the same order: a cache that does not hold all of it holds nothing that
# is asked for. USPTO-50k has 100,000 questions and answers; so many take about 25 MB.
_CACHED = 120_000

_Request = tuple[str, ...]


class LimitedProcess:
    """Asks one process, started when it is first needed and again after it was ended; for any number of threads."""

    def __init__(
        self,
        module: str,
        verifier: str,
        cpu_s: float = CPU_S,
        wait_s: float = WAIT_S,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Start nothing yet.

        Args:
            module: What the process runs; it calls `thickets.tasks.verifiers.limited.main.main`.
            verifier: Whose answers it judges, for messages.
            cpu_s: Most processor time for one request.
            wait_s: Most time for one request by the clock.
            memory_bytes: Address space of the process.
        """
        self._module = module
        self._verifier = verifier
        self._limits = (cpu_s, wait_s, memory_bytes)
        self._forget()

    def close(self) -> None:
        """End the process; a later request starts another."""
        with self._lock:
            self._end()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def after_fork(self) -> None:
        """Leave the process to the parent: a child of ours that asked it would take its answers."""
        if self._channel is not None:
            self._channel.close()
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Connection | None = None
        self._answers: OrderedDict[_Request, object] = OrderedDict()

    def ask(self, *request: str) -> object:
        """Return the answer to a request; None if it has none or takes too much time or memory."""
        with self._lock:
            if request in self._answers:
                self._answers.move_to_end(request)
                return self._answers[request]
            answer = self._answers[request] = self._answer(request)
            if len(self._answers) > _CACHED:
                self._answers.popitem(last=False)
            return answer

    def _answer(self, request: _Request) -> object:
        for attempt in range(2):
            if self._process is None:
                self._start()
            assert self._process is not None
            assert self._channel is not None
            try:
                self._channel.send(request)
            except OSError:  # it was ended between two requests, by something else
                self._end()
                if attempt == 0:
                    continue
                break
            try:
                if self._channel.poll(self._limits[1]):
                    return self._channel.recv()
                why = f"no result after {self._limits[1]:g} s"
            except (EOFError, OSError):
                why = self._how_it_ended()
            self._end()
            log.warning("%s: %s for %r; it counts as not read", self._verifier, why, " ~ ".join(request[1:])[:120])
            return None
        return None

    def _start(self) -> None:
        cpu_s, _, memory_bytes = self._limits
        ours, theirs = Pipe()
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", self._module),
                    *(str(theirs.fileno()), str(memory_bytes), str(cpu_s)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C reaches the run alone, which ends this process by closing the channel
                env=environment,
            )
        self._channel = ours
        try:
            if ours.poll(_START_S):
                ours.recv()
                return
            why = f"nothing after {_START_S:.0f} s"
        except (EOFError, OSError):
            assert self._process.stderr is not None
            why = self._process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2] or "it ended"
        self._end()
        raise TransientError(f"cannot start the process that judges problem.verifier {self._verifier}: {why}")

    def _how_it_ended(self) -> str:
        assert self._process is not None
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "its channel closed"
        if status == -signal.SIGPROF:
            return f"more than {self._limits[0]:g} s of processor time"
        if status > 0:
            return f"more than {self._limits[2] >> 20} MB of memory"
        return f"the judging process was ended by {signal.Signals(-status).name}" if status else "it ended"

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None
