"""What a home knows of the services that are up: ``services/services.json``, with no secret in it."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from thickets.storage.files import write_text_atomically


class ProcessMark(BaseModel):
    """A process, told from a later one with the same number.

    Attributes:
        pid: Its number.
        created: When it was started, in seconds since 1970.
    """

    pid: int
    created: float

    @property
    def is_alive(self) -> bool:
        """Whether it is still this process."""
        return mark(self.pid) == self


class ServiceRow(BaseModel):
    """One service: what it is called, how a person reaches it, its process."""

    name: str
    address: str
    process: ProcessMark


class ServicesState(BaseModel):
    """What is up.

    Attributes:
        supervisor: The process that keeps the others up.
        since: When all were healthy first, in seconds since 1970; 0 while they are being started.
        prefect_api: PREFECT_API_URL for this machine.
        mlflow: MLFLOW_TRACKING_URI for this machine.
        needs_credentials: Whether the servers ask for a password.
        services: In the order of their start.
    """

    supervisor: ProcessMark
    since: float = 0.0
    prefect_api: str
    mlflow: str
    needs_credentials: bool
    services: list[ServiceRow] = []

    @property
    def is_up(self) -> bool:
        """Whether everything has been started, and is being looked after."""
        return self.since > 0 and self.supervisor.is_alive


def mark(pid: int) -> ProcessMark | None:
    """The mark of a living process."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessMark(pid=pid, created=process.create_time())
    except psutil.NoSuchProcess:
        return None


def services_folder(home: Path) -> Path:
    """Where logs, locks and the state of services are."""
    return home / "services"


def read_state(home: Path) -> ServicesState | None:
    """What was written last; None if nothing is or was up, or if the file is another version's."""
    path = services_folder(home) / "services.json"
    try:
        return ServicesState.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def write_state(home: Path, state: ServicesState) -> None:
    """Keep it for other processes."""
    write_text_atomically(services_folder(home) / "services.json", state.model_dump_json(indent=2))


def forget_state(home: Path) -> None:
    """Nothing is up any more."""
    (services_folder(home) / "services.json").unlink(missing_ok=True)


def seconds_up(state: ServicesState) -> float:
    """How long everything has been up."""
    return time.time() - state.since
