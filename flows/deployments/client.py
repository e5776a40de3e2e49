"""Starts a search on a server from Python, follows it, and gets its result, on any machine that reaches the server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.deployments import run_deployment
from prefect.utilities.urls import url_for

from thickets.flows.config.run import RunConfig
from thickets.flows.publish.artifacts import SUMMARY_KEY
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.prefect_server import PATIENCE_S
from thickets.storage.errors import InputError, RunError

SEARCH, PROBLEMS, ROUNDS = "randopt/search", "randopt-many/search", "randopt-rounds/search"


def submit(
    config: RunConfig,
    *,
    deployment: str | None = None,
    on_progress: Callable[[str], None] = print,
    poll_s: float = 2.0,
) -> RunSummary:
    """Run a search on a worker, and wait for it.

    Ctrl-C ends the waiting, not the run.

    Args:
        config: The run, of one problem and without rounds. Only fields that were set are sent: folders and defaults are
            the worker's.
        deployment: Flow and deployment; None: ``randopt/search``.
        on_progress: Called with every change of the run's state and of its scoring progress.
        poll_s: Seconds between two requests to the server.

    Returns:
        The result.

    Raises:
        InputError: There is no such deployment, the configuration names a folder of this machine, or it makes several
            runs, which have no one summary.
        RunError: The run failed, crashed, or was cancelled; the message has its page.
    """
    if (several := deployment_of(config)) != SEARCH:
        raise InputError(
            f"{'rounds' if config.rounds else 'problems'}: found a configuration of several runs where one is wanted; "
            f"start it with `start(config)` ({several}), and look at its page or at groups/ in the worker's home"
        )
    return follow(start(config, deployment=deployment), on_progress=on_progress, poll_s=poll_s)


def follow(run: FlowRun, *, on_progress: Callable[[str], None] = print, poll_s: float = 2.0) -> RunSummary:
    """Wait for a search that was started; see `submit`.

    Args:
        run: The flow run that `start` returned.
        on_progress: Called with every change of the run's state and of its scoring progress.
        poll_s: Seconds between two requests to the server.

    Raises:
        RunError: The run failed, crashed, or was cancelled (the message has its page), or the server stayed away.
    """
    on_progress(f"{run.name}: {url_for('flow-run', obj_id=run.id)}")
    told: set[str] = set()
    try:
        with get_client(sync_client=True) as client:
            seen_at = time.monotonic()
            while True:
                try:
                    run = client.read_flow_run(run.id)
                    lines = [run.state_name or "", *_scoring(client, run)]
                    seen_at = time.monotonic()
                except httpx.TransportError as error:
                    if time.monotonic() - seen_at > PATIENCE_S:
                        raise RunError(
                            f"the Prefect server has been away for {PATIENCE_S / 60:.0f} minutes; {run.name} goes on "
                            "without it, and its worker keeps the result"
                        ) from error
                    lines = ["the Prefect server is away; waiting for it"]
                for line in lines:
                    if line not in told:
                        told.add(line)
                        on_progress(f"{run.name}: {line}")
                if run.state is not None and run.state.is_final():
                    return result(client, run)
                time.sleep(poll_s)
    except KeyboardInterrupt:
        on_progress(f"{run.name} goes on without this program: {url_for('flow-run', obj_id=run.id)}")
        raise


def deployment_of(config: RunConfig) -> str:
    """Return the deployment for a configuration: of one search, of several problems, or of rounds."""
    if config.rounds is not None:
        return ROUNDS
    return SEARCH if config.problems is None else PROBLEMS


def start(config: RunConfig, *, deployment: str | None = None, **options: Any) -> FlowRun:
    """Start a search on a worker, without waiting for it.

    Args:
        config: The run, or several: of `problems` or `rounds`. What is sent of it, see `submit`.
        deployment: Flow and deployment; None: `deployment_of` the configuration.
        options: Passed to Prefect's `run_deployment`, e.g. `tags`.

    Raises:
        InputError: There is no such deployment, or the configuration names a folder of this machine.
    """
    from prefect.exceptions import ObjectNotFound

    if "home" in config.storage.model_fields_set:
        raise InputError("storage.home: is set, but it is the worker's THICKETS_HOME that counts; leave it out")
    deployment = deployment or deployment_of(config)
    parameters = {"config": config.model_dump(mode="json", exclude_unset=True)}
    name = f"{config.label}-n{config.population.size}"
    try:
        started = run_deployment(deployment, parameters=parameters, timeout=0, flow_run_name=name, **options)
    except ObjectNotFound:
        raise InputError(
            f"deployment: there is no {deployment!r} on this Prefect server; start a worker with `thickets up`"
        ) from None
    assert isinstance(started, FlowRun)  # a coroutine only where an event loop runs
    return started


def result(client: SyncPrefectClient, run: FlowRun) -> RunSummary:
    """Return the result of a run that has ended.

    Raises:
        RunError: The run has none.
    """
    if run.state is None or not run.state.is_completed():
        state = run.state_name or "no state"
        message = run.state.message if run.state else ""
        raise RunError(f"{run.name} ended as {state}: {message} ({url_for('flow-run', obj_id=run.id)})")
    for artifact in artifacts_of(client, run):
        if artifact.key == SUMMARY_KEY:
            data = json.loads(artifact.data) if isinstance(artifact.data, str) else artifact.data
            return RunSummary.model_validate(data)
    raise RunError(f"{run.name} is completed, but has left no artifact {SUMMARY_KEY!r}; was it a search?")


def _scoring(client: SyncPrefectClient, run: FlowRun) -> list[str]:
    """Return the descriptions of the run's progress artifacts."""
    return [str(each.description) for each in artifacts_of(client, run) if each.type == "progress"]


def artifacts_of(client: SyncPrefectClient, run: FlowRun) -> list[Artifact]:
    """Return the artifacts that a run shows on its page, at most 200."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    return list(client.read_artifacts(artifact_filter=of_run, limit=200))
