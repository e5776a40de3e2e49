"""Starts the services in order, keeps them up, and stops them in the opposite order."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from thickets.flows.services.launch import Launch, launches
from thickets.flows.services.process import Service, stop_session
from thickets.flows.services.settings import ServiceSettings
from thickets.flows.services.state import (
    ServiceRow,
    ServicesState,
    forget_state,
    mark,
    read_state,
    services_folder,
    write_state,
)
from thickets.storage.errors import RunError

# A worker's flow runs get SIGTERM, set their states in Prefect and MLflow, and end themselves before that
# (`thickets.flows.runtime.interrupt`).
_GRACE_S = {"worker": 15.0}
_GRACE_ELSE_S = 10.0
_LOOK_EVERY_S = 0.5
_RESTARTS, _WITHIN_S = 3, 60.0


class StopRequest(BaseException):
    """Raised on SIGTERM or Ctrl-C: all services are to be stopped."""


def run(settings: ServiceSettings, say: Callable[[str], None]) -> None:
    """Start all services, watch them until Ctrl-C or SIGTERM, then stop them.

    Raises:
        RunError: The home's services are up already, or one could not be started or keeps ending.
    """
    home = settings.home
    services_folder(home).mkdir(parents=True, exist_ok=True)
    services_folder(home).chmod(0o700)
    with _only_one(home), _stop_requests():
        clean_up(home)
        running: dict[str, Service] = {}
        try:
            for launch in launches(settings):
                say(f"starting {launch.name}")
                running[launch.name] = _start(home, launch)
                _write(settings, running, since=0.0)
                running[launch.name].wait_until_healthy()
            since = time.time()
            _write(settings, running, since)
            say(describe(settings, running))
            _watch(settings, running, since, say)
        except StopRequest:
            say("stopping")
        finally:
            _ignore_signals()
            for service in reversed(running.values()):
                service.stop(_GRACE_S.get(service.launch.name, _GRACE_ELSE_S))
            forget_state(home)


def clean_up(home: Path) -> list[str]:
    """End services that a killed supervisor has left; only processes whose pid and start time match.

    Returns:
        Names of the services that were ended.
    """
    state = read_state(home)
    left = [] if state is None else [row for row in reversed(state.services) if row.process.is_alive]
    for row in left:
        stop_session(row.process.pid, _GRACE_S.get(row.name, _GRACE_ELSE_S))
    forget_state(home)
    return [row.name for row in left]


def describe(settings: ServiceSettings, running: dict[str, Service]) -> str:
    """Return the addresses, and the variables by which another shell uses them."""
    addresses = [f"{name + ':':9}{service.launch.address}" for name, service in running.items()]
    return "\n".join(
        [
            *addresses,
            "`thickets run` with the same home uses them; other programs:",
            f"  export PREFECT_API_URL={settings.prefect_api} MLFLOW_TRACKING_URI={settings.mlflow}",
        ]
    )


def _start(home: Path, launch: Launch) -> Service:
    return Service(launch, services_folder(home) / f"{launch.name}.log")


def _watch(settings: ServiceSettings, running: dict[str, Service], since: float, say: Callable[[str], None]) -> None:
    ended: deque[float] = deque(maxlen=_RESTARTS)
    while True:
        time.sleep(_LOOK_EVERY_S)
        for name, service in running.items():
            if service.is_running:
                continue
            ended.append(time.monotonic())
            if len(ended) == _RESTARTS and ended[-1] - ended[0] < _WITHIN_S:
                raise RunError(f"{name} keeps ending, {_RESTARTS} ends within a minute; its log is {service.log}")
            say(f"{name} has ended; starting it again (its log: {service.log})")
            service.stop(_GRACE_ELSE_S)  # processes that it has left behind
            running[name] = _start(settings.home, service.launch)
            _write(settings, running, since)
            running[name].wait_until_healthy()


def _write(settings: ServiceSettings, running: dict[str, Service], since: float) -> None:
    own = mark(os.getpid())
    assert own is not None
    rows = [
        ServiceRow(name=name, address=service.launch.address, process=process)
        for name, service in running.items()
        if (process := service.mark) is not None
    ]
    state = ServicesState(
        supervisor=own,
        since=since,
        prefect_api=settings.prefect_api,
        mlflow=settings.mlflow,
        needs_credentials=settings.credentials is not None,
        services=rows,
    )
    write_state(settings.home, state)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    lock = FileLock(services_folder(home) / "lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        state = read_state(home)
        where = f": Prefect {state.prefect_api.removesuffix('/api')}, MLflow {state.mlflow}" if state else ""
        raise RunError(f"the services of {home} are up already{where}; stop them with `thickets down`") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stop_requests() -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        raise StopRequest

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Ignore Ctrl-C and SIGTERM: a second one must not leave half of the services behind; stopping takes seconds."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
