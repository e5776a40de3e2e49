"""Reads and writes ``services/services.json`` of a home: the services that are up, with no secret in it."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from thickets.storage.files import write_text_atomically

_SAME_WITHIN_S = 2.0


class ProcessMark(BaseModel):
    """Pid and start time of a process, which tell it from a later one with the same pid.

    Attributes:
        pid: The process id.
        created: Start time, in seconds since 1970. Linux counts it from the boot, so that it moves with the clock.
        since_boot: The boot and the clock ticks from it to the start, which never change; None elsewhere, where the
            system keeps the time of the start itself.
    """

    pid: int
    created: float
    since_boot: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the pid still belongs to this process."""
        now = mark(self.pid)
        if now is None:
            return False
        if self.since_boot is not None and now.since_boot is not None:
            return self.since_boot == now.since_boot
        return abs(self.created - now.created) < _SAME_WITHIN_S


class ServiceRow(BaseModel):
    """One service: its name, its address and its process."""

    name: str
    address: str
    process: ProcessMark


class ServicesState(BaseModel):
    """The services of a home and their supervisor.

    Attributes:
        supervisor: The process that keeps the others up.
        since: Time at which all were healthy first, in seconds since 1970; 0 while they are being started.
        prefect_api: PREFECT_API_URL for this machine.
        mlflow: MLFLOW_TRACKING_URI for this machine.
        needs_credentials: Whether the servers need a password.
        services: The services in the order of their start.
    """

    supervisor: ProcessMark
    since: float = 0.0
    prefect_api: str
    mlflow: str
    needs_credentials: bool
    services: list[ServiceRow] = []

    @property
    def is_up(self) -> bool:
        """Whether all services have been started and their supervisor is alive."""
        return self.since > 0 and self.supervisor.is_alive

    @property
    def view(self) -> str | None:
        """Address of the pages of `thickets view`; None where an earlier version has started the services."""
        return next((row.address for row in self.services if row.name == "view"), None)


def mark(pid: int) -> ProcessMark | None:
    """Return the mark of a process; None if it does not run."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessMark(pid=pid, created=process.create_time(), since_boot=_since_boot(pid))
    except psutil.NoSuchProcess:
        return None


def _since_boot(pid: int) -> str | None:
    """Return the boot's id and the ticks from it to the start of a process, from Linux's /proc (`man 5 proc`)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # The name of the program, in brackets, may hold spaces and brackets.
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return f"{boot} {after_name.split()[19]}"
    except (OSError, IndexError):
        return None


def services_folder(home: Path) -> Path:
    """Return the folder with the logs, locks and state of services."""
    return home / "services"


def read_state(home: Path) -> ServicesState | None:
    """Return the state that was written last; None if there is none, or if another version wrote the file."""
    path = services_folder(home) / "services.json"
    try:
        return ServicesState.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def write_state(home: Path, state: ServicesState) -> None:
    """Write the state for other processes."""
    write_text_atomically(services_folder(home) / "services.json", state.model_dump_json(indent=2))


def forget_state(home: Path) -> None:
    """Delete the state, once nothing is up any more."""
    (services_folder(home) / "services.json").unlink(missing_ok=True)


def seconds_up(state: ServicesState) -> float:
    """Return the seconds since all services were healthy first."""
    return max(0.0, time.time() - state.since)  # the clock may have been set back
