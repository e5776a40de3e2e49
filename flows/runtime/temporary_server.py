"""A Prefect server for one command, where none is configured: started at once, and waited for when it is needed.

Prefect starts one by itself too, but only when its client is first used, in a client that has first imported the whole
server. Both databases are the same (Prefect's own, in PREFECT_HOME), so that runs are found again there.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from thickets.flows.runtime.prefect_database import create_prefect_database
from thickets.storage.errors import RunError

_MAIN = "thickets.flows.runtime.temporary_server_main"
_SETTINGS = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "0",  # no flow of ours uses one
}
_READY_WITHIN_S = 120.0  # a busy machine needs long
_STOP_WITHIN_S = 5.0
_LOG_LINES = 5

_api_url: str | None = None


def temporary_api_url() -> str | None:
    """Return the address of this process's own server, which ends with it; None where there is none."""
    return _api_url


class TemporaryServer:
    """The server's process; it ends with this one, however this one ends."""

    def __init__(self) -> None:
        """Start it; PREFECT_API_URL is its address from now on, although it answers only in seconds."""
        from prefect.context import refresh_global_settings_context
        from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings

        global _api_url  # noqa: PLW0603
        # Listening before the server is there: its port cannot be lost to another process, and who asks early waits.
        listener = socket.create_server(("127.0.0.1", 0))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  open for as long as the server writes
        create_prefect_database(str(PREFECT_API_DATABASE_CONNECTION_URL.value()))
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        with listener:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MAIN, str(listener.fileno()), str(os.getpid())],
                env={**os.environ, **settings, **_SETTINGS},
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the run, which then tells the server how it ended.
                start_new_session=True,
            )
            self.api_url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        atexit.register(self.stop)
        _api_url = os.environ["PREFECT_API_URL"] = self.api_url
        refresh_global_settings_context()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Wait until the server answers, and spare flows the heartbeats, which nobody reads there.

        Raises:
            RunError: It has ended, or has not answered within two minutes.
        """
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        self._wait()
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):  # the end of a flow waits for its thread
            yield

    def stop(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait(self) -> None:
        try:
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            direct.open(f"{self.api_url}/health", timeout=_READY_WITHIN_S).close()
        except OSError as error:
            self._log.seek(0)
            lines = self._log.read().decode(errors="replace").strip().splitlines()[-_LOG_LINES:]
            raise RunError("\n".join([f"Prefect's temporary server has not started: {error}", *lines])) from None
