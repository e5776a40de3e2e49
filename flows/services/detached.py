"""Starts the services in the background, and stops them from another process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil

from thickets.flows.runtime.environment import without_command_line_defaults
from thickets.flows.services.settings import ServiceSettings
from thickets.flows.services.state import ServicesState, read_state, services_folder
from thickets.flows.services.supervisor import clean_up
from thickets.storage.errors import RunError

_POLL_S = 0.3
_STOP_WITHIN_S = 60.0


def start(settings: ServiceSettings) -> ServicesState:
    """Start `thickets up` in the background and wait until everything is healthy.

    Raises:
        RunError: The services could not be started; the message is the supervisor's own.
    """
    home = settings.home
    folder = services_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "supervisor.log"
    command = [sys.executable, "-P", "-m", "thickets", "up", "--home", str(home), "--host", settings.host]
    command += ["--prefect-port", str(settings.prefect_port), "--mlflow-port", str(settings.mlflow_port)]
    command += ["--view-port", str(settings.view_port)]
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            command,
            env=without_command_line_defaults(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while supervisor.poll() is None:
        state = read_state(home)
        if state is not None and state.supervisor.pid == supervisor.pid and state.is_up:
            return state
        time.sleep(_POLL_S)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raise RunError("\n".join(errors) or f"the services ended at once; see {log}")


def stop(home: Path) -> bool:
    """Stop the services of a home, and processes that a killed supervisor has left.

    Returns:
        Whether there was anything to stop.
    """
    state = read_state(home)
    if state is None:
        return False
    was_alive = state.supervisor.is_alive
    if was_alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(state.supervisor.pid).terminate()
        deadline = time.monotonic() + _STOP_WITHIN_S
        while state.supervisor.is_alive:
            if time.monotonic() > deadline:
                psutil.Process(state.supervisor.pid).kill()
            time.sleep(_POLL_S)
    return bool(clean_up(home)) or was_alive
