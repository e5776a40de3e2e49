"""Logs finished runs in MLflow: at the end of a run, and with `thickets log` those whose store was away then.

A run's folder holds `unlogged` from before its result is written until MLflow has all of it, so that a kill in between
is known of as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from thickets.flows.publish.finished import FinishedRun, load_finished
from thickets.flows.publish.lineage import log_lineage
from thickets.flows.publish.tracking import log_beginning, log_results
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.mlflow_server import tracked
from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home, RunFolder
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import check_reachable, sqlite_file, writable_uri
from thickets.tasks.task import task


def log_at_the_end(home: Home, run: FinishedRun) -> None:
    """Log a run that has just been finished, and what is left of earlier runs; in a flow. MLflow may be away."""
    with tracked("the result"):
        _log_results(run)
    if run.folder.unlogged.exists():
        log.warning(
            f"the result is in {run.folder.root}; to log it when MLflow is back: thickets log {run.folder.run_id}"
        )
        return
    for left in _unlogged(home, run.record.uri):
        with tracked(f"the result of {left.run_id}"):
            log_again(home, left)
            log.info(f"{left.run_id} is in MLflow now, too")


def log_again(home: Home, folder: RunFolder, uri: str | None = None) -> str:
    """Log a finished run from its folder; what MLflow has of it already is not logged twice.

    It is the MLflow run that the run itself has opened, or else (another store, or one that has lost it) a new one,
    which the run's summary then names.

    Args:
        home: The home of the run.
        folder: The run's.
        uri: Tracking URI; None is where the run was to be logged.

    Returns:
        The address of the MLflow run, or how to serve it.

    Raises:
        InputError: The run is not finished, or MLflow cannot write to `uri`.
        RunError: The run is in progress, or the store cannot be reached or used.
    """
    with home.run_lock(folder.run_id):
        run = _taken_up(home, load_finished(home, folder), uri)
        log_finished(run)
        return run.record.tracker.describe()


def log_finished(run: FinishedRun) -> None:
    """Log metrics, tables, figures, files, stages and the ensemble, and end the MLflow run.

    Raises:
        RunError: The store cannot be reached or used; `TransientError` where it may be in a moment.
    """
    record = run.record
    check_reachable(record.uri)
    tracker = record.tracker.at(record.measured_ms)
    with run.open_scores() as scores:
        if not record.has_beginning:
            log_beginning(tracker, run.config, run.folder, record, scores.questions)
            record.having(has_beginning=True).save(run.folder)
        log_results(tracker, run, scores)
        log_lineage(tracker, run, scores)
    tracker.finish()
    run.folder.unlogged.unlink(missing_ok=True)


@task("log-results", retries=1, retry_delays_s=[10.0])  # the server may be restarting
def _log_results(run: FinishedRun) -> None:
    log_finished(run)


def _taken_up(home: Home, run: FinishedRun, uri: str | None) -> FinishedRun:
    """Return the run with the MLflow run that is to be written to, which is opened if there is none."""
    record, ours = run.record, run.folder.run_id
    address = writable_uri(home, uri or (record.uri if _is_there(record.uri) else run.config.tracking.uri))
    tracker = Tracker.find(address, record.mlflow_run_id, ours)
    is_new = tracker is None
    if tracker is None:
        tracker = Tracker.start(home, run.config.tracking.experiment, ours, record.tags, uri=address)
    elif address == record.uri:
        return run
    write_text_atomically(run.folder.unlogged, f"{address}\n")
    record = record.having(
        uri=address,
        experiment_id=tracker.experiment_id,
        mlflow_run_id=tracker.run_id,
        has_beginning=record.has_beginning and not is_new,
    )
    where = {"mlflow_uri": address, "mlflow_run_id": tracker.run_id, "mlflow_address": tracker.describe()}
    links = run.summary.tracking.model_copy(update=where)
    summary = run.summary.model_copy(update={"tracking": links})
    record.save(run.folder)
    write_text_atomically(run.folder.summary, summary.model_dump_json(indent=2))
    return replace(run, record=record, summary=summary)


def _is_there(uri: str) -> bool:
    """Return whether a store can be meant here: not the database in a home that has moved."""
    database = sqlite_file(uri)
    return database is None or database.is_file()


def _unlogged(home: Home, uri: str) -> Iterator[RunFolder]:
    """Find the finished runs that a store lacks, by what their folders say; none that is in progress."""
    for path in sorted(home.runs.glob("*/unlogged")):
        folder = RunFolder(path.parent)
        try:
            record = load_finished(home, folder).record
        except InputError:
            continue  # killed before its result was written: whoever goes on with it logs it
        if record.uri == uri and not home.is_locked(folder.run_id):
            yield folder
