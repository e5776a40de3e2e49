"""What happens when a flow run ends otherwise than by completing: its MLflow runs must not go on as RUNNING.

An exception ends them on its way out (`Tracker`), and so does a cancellation. After a SIGKILL nobody
is left to do it; the worker notices, and calls these hooks itself.
"""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.states import State

from thickets.flows.config.run import RunConfig, StorageConfig, TrackingConfig
from thickets.flows.search.progress import log
from thickets.storage.errors import ThicketsError
from thickets.storage.home import Home
from thickets.storage.tracking.store import end_runs_of


def end_mlflow_runs(flow: Any, flow_run: FlowRun, state: State) -> None:
    """Prefect hook: mark what a crashed flow run has left RUNNING in MLflow as KILLED."""
    try:
        given = flow_run.parameters.get("config")
        config = RunConfig.model_validate(given) if given else None  # a flow about a finished run has none
        storage, tracking = (config.storage, config.tracking) if config else (StorageConfig(), TrackingConfig())
        n_ended = end_runs_of(Home(storage.home), str(flow_run.id), uri=tracking.uri)
    except (ThicketsError, ValueError) as error:  # a hook that fails must not hide why the run ended
        log.warning(f"MLflow runs of flow run {flow_run.name} may still be marked as running: {error}")
        return
    if n_ended:
        log.info(f"marked {n_ended} MLflow runs of flow run {flow_run.name} as killed")
