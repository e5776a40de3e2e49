"""An MLflow run below that of a finished search: of what was made of it later (a student, a rival)."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from typing import Any

from thickets.flows.config.file import dump_config, flatten
from thickets.flows.plan import RunPlan
from thickets.flows.publish.tracking import links
from thickets.flows.results.summary import RunSummary, TrackingLinks
from thickets.flows.runtime.environment import log
from thickets.storage.errors import RunError
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, given_uri


def open_below(
    run: RunPlan, found: RunSummary, name: str, tags: Mapping[str, str], settings: Mapping[str, Any]
) -> Tracker:
    """Open the run and log what is known before anything is computed.

    Args:
        run: The search.
        found: Its result.
        name: Of what is made of it, among all runs of the home.
        tags: `STAGE_TAG`, and the tag that names the search.
        settings: The section of the configuration, under its name.
    """
    every = {
        RUN_ID_TAG: name,
        **tags,
        "mlflow.parentRunId": found.tracking.mlflow_run_id,  # MLflow's list shows it below the search
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "thickets",
    }
    tracking = run.config.tracking
    tracker = Tracker.start(run.home, tracking.experiment, name, every, uri=tracking.uri)
    where = links(tracker)
    prefect = {"prefect.flow_run_id": where.prefect_flow_run_id, "prefect.flow_run_url": where.prefect_address}
    tracker.log_tags({tag: value for tag, value in prefect.items() if value})
    tracker.log_config(flatten(dict(settings)))
    tracker.log_text("config.yaml", dump_config(run.config))
    return tracker


def unless_away(run: RunPlan, found: RunSummary, opened: Callable[[], Tracker], what: str) -> Tracker | None:
    """Return the run that `opened` opens; None if the store is away that the search has reached.

    Raises:
        RunError: The store cannot be reached, and is not that of the search.
    """
    try:
        return opened()
    except RunError as error:
        if found.tracking.mlflow_uri != _store_of(run):
            raise
        log.warning(f"MLflow is away; the {what} goes on, for the search was logged there: {error}")
        return None


def links_below(run: RunPlan, found: RunSummary, tracker: Tracker | None) -> TrackingLinks:
    """Return where it is to be found; without a run in MLflow, the store that it will be logged in."""
    if tracker is not None:
        return links(tracker)
    return found.tracking.model_copy(update={"mlflow_run_id": "", "mlflow_address": _store_of(run)})


def _store_of(run: RunPlan) -> str:
    """Return the address of the store that a run's configuration names."""
    return given_uri(run.home, run.config.tracking.uri)
