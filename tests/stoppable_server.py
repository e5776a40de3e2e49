"""A server on loopback, in a process of its own, that a test can stop and start again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE_S, wait_for

_POLL_S = 0.25


def vacant_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_ipv6() -> bool:
    """Whether this machine has IPv6 on loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class StoppableServer:
    """Runs while the block does; what it was told lasts from one start to the next, and so does its port."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, health: str) -> None:
        """Start nothing yet.

        Args:
            command: The program and its arguments.
            environment: All of its variables.
            folder: Where it runs, and writes its log.
            health: Address that answers once it is up.
        """
        self._command, self._environment, self._folder, self._health = command, environment, folder, health
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self._folder / "server.log"
        with path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True, env=self._environment
            )
        try:
            wait_for(self._is_well, every_s=_POLL_S)
        except AssertionError:
            raise TimeoutError(path.read_text()) from None

    def stop(self) -> None:
        """End it and what it has started by SIGKILL, and wait until nobody listens any more."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            self._process = None
            wait_for(lambda: not self._is_listened_to(), every_s=_POLL_S)  # by a process that it had started

    def _is_well(self) -> bool:
        try:
            urllib.request.urlopen(self._health, timeout=10).close()
        except OSError:
            return False
        return True

    def _is_listened_to(self) -> bool:
        address = urlsplit(self._health)
        try:
            socket.create_connection((str(address.hostname), int(address.port or 0)), 1).close()
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
