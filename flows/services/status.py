"""Collects what `thickets status` shows: services, flow runs that run or wait, and flow runs whose process is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from pydantic import BaseModel

from thickets.flows.runtime.repair import find_dead
from thickets.flows.services.state import ServicesState
from thickets.storage.home import Home

_SHOWN = [StateType.RUNNING, StateType.CANCELLING, StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED]
_MOST = 50


class ServiceStatus(BaseModel):
    """One service."""

    name: str
    address: str
    is_running: bool


class FlowRunStatus(BaseModel):
    """One flow run that has not ended.

    Attributes:
        flow_run_id: Prefect's id.
        name: Its name.
        state: Prefect's name of its state.
        is_dead: Whether its process is gone.
    """

    flow_run_id: str
    name: str
    state: str
    is_dead: bool


class Status(BaseModel):
    """Services and flow runs of a home.

    Attributes:
        home: The home.
        is_up: Whether the services are up.
        services: One row per service.
        flow_runs: Flow runs that run or wait, at most 50.
        free_bytes: Room left on the disk of the home.
    """

    home: str
    is_up: bool
    services: list[ServiceStatus]
    flow_runs: list[FlowRunStatus]
    free_bytes: int


def read_status(home: Path, state: ServicesState | None, *, connected: bool) -> Status:
    """Check the processes, and read the flow runs of the Prefect server if this process is `connected` to it."""
    is_up = state is not None and state.is_up
    rows = [] if state is None else state.services
    services = [ServiceStatus(name=row.name, address=row.address, is_running=row.process.is_alive) for row in rows]
    flow_runs = _flow_runs(home) if connected else []
    existing = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    return Status(
        home=str(home.absolute()),
        is_up=is_up,
        services=services,
        flow_runs=flow_runs,
        free_bytes=shutil.disk_usage(existing).free,
    )


def _flow_runs(home: Path) -> list[FlowRunStatus]:
    dead = {run.id for run in find_dead(Home(home))}
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_SHOWN))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=_MOST)
    return [
        FlowRunStatus(flow_run_id=str(run.id), name=run.name, state=run.state_name or "", is_dead=run.id in dead)
        for run in found
    ]
