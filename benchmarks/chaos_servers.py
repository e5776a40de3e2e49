"""The servers and the small disk that some rounds of `benchmarks.chaos` take from a run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from thickets.flows.services.state import ServicesState, read_state

_DISK_SIZE = "96m"  # a home takes a tenth of it
# The supervisor gives up after three ends within a minute.
_BETWEEN_KILLS_S = 31.0
_HEALTHY_WITHIN_S = 180.0
_POLL_S = 0.2


class Services:
    """`thickets up` in a home of its own, for the runs that use its servers."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        """Start Prefect, MLflow and a worker, which takes a minute."""
        # What a run says is in its worker's log at once, and on its page, which takes seconds, if it lives that long.
        self._home, self._environment = home, {**environment, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}
        self._killed = -_BETWEEN_KILLS_S
        self._call("up", "--detach", "--prefect-port", "0", "--mlflow-port", "0", "--view-port", "0")

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a run at the servers."""
        state = self._state()
        return {"PREFECT_API_URL": state.prefect_api, "MLFLOW_TRACKING_URI": state.mlflow}

    def wait(self) -> None:
        """Wait until both servers answer and the worker runs, and until another may be killed."""
        deadline = time.monotonic() + _HEALTHY_WITHIN_S
        while time.monotonic() < deadline:
            state = self._state()
            up = {row.name for row in state.services if row.process.is_alive}
            if "worker" in up and all(map(_answers, (f"{state.prefect_api}/health", f"{state.mlflow}/health"))):
                break
            time.sleep(_POLL_S)
        time.sleep(max(0.0, self._killed + _BETWEEN_KILLS_S - time.monotonic()))

    @property
    def worker_log(self) -> Path:
        """What the worker, and the flow runs that it starts, say on the terminal."""
        return self._home / "services" / "worker.log"

    def process(self, name: str) -> psutil.Process:
        """Return the process of a service."""
        [row] = [row for row in self._state().services if row.name == name]
        return psutil.Process(row.process.pid)

    def kill(self, name: str, *, alone: bool = False) -> list[psutil.Process]:
        """End a service by SIGKILL, with the processes it has started unless `alone`; `thickets up` starts it again.

        Returns:
            The processes that it has started.
        """
        service = self.process(name)
        started = service.children(recursive=True)
        for process in [service, *([] if alone else started)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._killed = time.monotonic()
        return started

    def stop(self) -> None:
        """End them all."""
        self._call("down")

    def _state(self) -> ServicesState:
        state = read_state(self._home)
        assert state is not None, f"the services of {self._home} are gone"
        return state

    def _call(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "thickets", *arguments, "--home", str(self._home)]
        subprocess.run(command, check=True, env=self._environment, stdout=subprocess.DEVNULL)


@contextmanager
def small_disk(folder: Path) -> Iterator[str | None]:
    """Mount a small file system in memory at a folder; yield why that cannot be done here, or None."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_SIZE}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        yield f"file systems cannot be mounted: {error.strerror}"
        return
    if done.returncode:
        yield f"file systems cannot be mounted: {done.stderr.strip()}"
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte free on a disk within the block."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize)
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        yield
    finally:
        ballast.unlink()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
