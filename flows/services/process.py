"""Runs one service as a process with a session of its own: Ctrl-C does not reach it, and `stop` ends all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil

from thickets.flows.services.launch import Launch
from thickets.flows.services.state import ProcessMark, mark
from thickets.storage.errors import RunError

_HEALTHY_WITHIN_S = 180.0
_POLL_S = 0.3
_LOG_LINES = 5
_LINE_LENGTH = 200


class Service:
    """A service that was started."""

    def __init__(self, launch: Launch, log: Path) -> None:
        self.launch, self.log = launch, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                launch.command,
                env=launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether its process is running."""
        return self._process.poll() is None

    @property
    def mark(self) -> ProcessMark | None:
        """Pid and start time, by which another process recognises its process; None if that has ended."""
        return mark(self._process.pid)

    def wait_until_healthy(self) -> None:
        """Wait for the service to answer.

        Raises:
            RunError: The service ended, or did not answer in time.
        """
        deadline = time.monotonic() + _HEALTHY_WITHIN_S
        while not self.launch.is_healthy():
            if not self.is_running:
                raise RunError(f"{self.launch.name} ended at once; {self._last_words()}")
            if time.monotonic() > deadline:
                raise RunError(
                    f"{self.launch.name} has not answered for {_HEALTHY_WITHIN_S:.0f} s; {self._last_words()}"
                )
            time.sleep(_POLL_S)

    def stop(self, grace_s: float) -> None:
        """End the service and all processes of its session, by force after `grace_s`."""
        stop_session(self._process.pid, grace_s)
        self._process.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        lines = [line if len(line) <= _LINE_LENGTH else f"{line[:_LINE_LENGTH]}..." for line in lines]
        return "\n".join([f"the end of its log, {self.log}:", *lines])


def stop_session(leader: int, grace_s: float) -> None:
    """End every process of a session: SIGTERM, and SIGKILL for what is left after `grace_s`."""
    members = _members(leader)
    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, members = psutil.wait_procs(members, timeout=patience_s)
        members = [process for process in {*members, *_members(leader)} if process.is_running()]
        if not members:
            return


def _members(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
