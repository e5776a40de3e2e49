"""Finds flow runs that a kill has left RUNNING, by their locks; marks them crashed in Prefect and killed in MLflow.

Whoever starts next in the home does so with what has surely ended on this machine (`repair_at_start`), and `thickets
status --repair` with all that nobody seems to carry out. No scores are lost: `prefect flow-run retry`, or the same
command again, goes on from the finished shards.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed, State
from pydantic import BaseModel

from thickets.flows.config.run import RunConfig, StorageConfig, TrackingConfig
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.liveness import abandoned, is_carried_out
from thickets.storage.errors import ThicketsError
from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.tracking.store import end_runs_of

_MESSAGE = "Its process ended without a word, as after SIGKILL or a power cut."
_UNFINISHED = [StateType.RUNNING, StateType.CANCELLING, StateType.PENDING]
_PAGE = 200


class Repaired(BaseModel):
    """A flow run whose process was gone.

    Attributes:
        flow_run_id: Prefect's id.
        name: Its name.
        was: The state it was in.
        now: The state it is in.
        n_mlflow_runs: MLflow runs that it had left RUNNING; None: MLflow was away, and is told later.
    """

    flow_run_id: str
    name: str
    was: str
    now: str
    n_mlflow_runs: int | None


def find_dead(home: Home) -> list[FlowRun]:
    """Find the flow runs of this home that are unfinished on the Prefect server although their process is gone."""
    with get_client(sync_client=True) as client:
        return [run for run in _unfinished(client) if _is_dead(home, run)]


def repair(home: Home) -> list[Repaired]:
    """Mark what `find_dead` finds as crashed (cancelled if it was cancelling), and its MLflow runs as killed.

    MLflow may be away: whoever starts next in the home tells it.
    """
    with get_client(sync_client=True) as client:
        return [_repaired(home, client, run) for run in _unfinished(client) if _is_dead(home, run)]


def repair_at_start(home: Home) -> None:
    """Mark flow runs whose process was killed on this machine, as `repair` does; a failure is logged, and no more.

    Without a trace of one, which is the rule, no server is asked.
    """
    try:
        with abandoned(home) as gone:
            if not gone:
                return
            with get_client(sync_client=True) as client:
                for flow_run_id, holder in gone.items():
                    _repair_abandoned(home, client, flow_run_id, holder)
    except Exception as error:  # a server that is away must not end the run that starts here
        log.warning(f"flow runs that were killed may still be shown as running: {error}")


def _repair_abandoned(home: Home, client: SyncPrefectClient, flow_run_id: str, holder: Holder) -> None:
    try:
        run = client.read_flow_run(UUID(flow_run_id))
    except (ObjectNotFound, ValueError):  # another server's
        return
    if run.state_type not in _UNFINISHED:
        _end_mlflow_runs(home, run)  # which was away when the flow run was marked
    elif not _is_taken_up(run, holder):
        found = _repaired(home, client, run)
        log.info(f"flow run {found.name} was {found.was}, but its process has ended: now {found.now}")


def _is_taken_up(run: FlowRun, holder: Holder) -> bool:
    """Return whether a worker has begun the flow run again, in a process that has not taken the lock yet."""
    pid = (run.infrastructure_pid or "").rpartition(":")[2]
    return pid.isdigit() and int(pid) != holder.pid and psutil.pid_exists(int(pid))


def _repaired(home: Home, client: SyncPrefectClient, run: FlowRun) -> Repaired:
    was = run.state_name or "unknown"
    state: State = Cancelled(message=_MESSAGE) if _is(run, StateType.CANCELLING) else Crashed(message=_MESSAGE)
    _end_tasks(client, run)
    client.set_flow_run_state(run.id, state, force=True)
    n_ended = _end_mlflow_runs(home, run)
    return Repaired(flow_run_id=str(run.id), name=run.name, was=was, now=state.name or "", n_mlflow_runs=n_ended)


def _end_mlflow_runs(home: Home, run: FlowRun) -> int | None:
    """End what a dead flow run has left in MLflow; its lock stays, to remind the next start, while MLflow is away."""
    try:
        n_ended = end_runs_of(home, str(run.id), uri=_tracking_uri(run))
    except ThicketsError as error:
        log.warning(f"MLflow runs of flow run {run.name} may still be marked as running: {error}")
        return None
    home.flow_run_lock(str(run.id)).unlink(missing_ok=True)
    return n_ended


def _unfinished(client: SyncPrefectClient) -> Iterator[FlowRun]:
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNFINISHED))
    start = 0
    while page := client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state), limit=_PAGE, offset=start):
        yield from page
        start += len(page)


def _is_dead(home: Home, run: FlowRun) -> bool:
    carried_out = is_carried_out(home, str(run.id))
    if carried_out is not None:
        return not carried_out
    # Killed before it took its lock, or of another home: only a process that a worker here has started is known.
    host, _, pid = (run.infrastructure_pid or "").rpartition(":")
    return host == socket.gethostname() and pid.isdigit() and not psutil.pid_exists(int(pid))


def _end_tasks(client: SyncPrefectClient, run: FlowRun) -> None:
    state = TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNFINISHED), name=None)
    unfinished = TaskRunFilter(state=state)
    flow_run = FlowRunFilter.model_validate({"id": {"any_": [run.id]}})
    for task_run in client.read_task_runs(flow_run_filter=flow_run, task_run_filter=unfinished):
        client.set_task_run_state(task_run.id, Crashed(message=_MESSAGE), force=True)


def _is(run: FlowRun, kind: StateType) -> bool:
    return run.state_type == kind


def end_mlflow_runs(flow: Any, flow_run: FlowRun, state: State) -> None:
    """Mark the MLflow runs that a crashed flow run has left RUNNING as KILLED; a Prefect hook."""
    try:
        storage, tracking = _settings_of(flow_run)
        n_ended = end_runs_of(Home(storage.home), str(flow_run.id), uri=tracking.uri)
    except (ThicketsError, ValueError) as error:  # a hook that fails must not hide why the run ended
        log.warning(f"MLflow runs of flow run {flow_run.name} may still be marked as running: {error}")
        return
    if n_ended:
        log.info(f"marked {n_ended} MLflow runs of flow run {flow_run.name} as killed")


def _tracking_uri(run: FlowRun) -> str | None:
    try:
        return _settings_of(run)[1].uri
    except ValueError:  # a configuration of another version
        return None


def _settings_of(run: FlowRun) -> tuple[StorageConfig, TrackingConfig]:
    given = run.parameters.get("config")
    config = RunConfig.model_validate(given) if given else None  # a flow about a finished run has none
    return (config.storage, config.tracking) if config else (StorageConfig(), TrackingConfig())
