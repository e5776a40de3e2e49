"""The MLflow tracking store: its address, a client for it, and its errors in our own terms."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from thickets.storage.errors import InputError, RunError, TransientError
from thickets.storage.home import Home, RunFolder
from thickets.storage.sqlite import sqlite_url
from thickets.storage.tracking.moved_home import follow_home
from thickets.storage.tracking.new_database import create_database

RUN_ID_TAG = "thickets.run_id"
STAGE_TAG = "thickets.stage"
FLOW_RUN_TAG = "prefect.flow_run_id"
HOLDER_TAG = "thickets.holder"
"""The process that writes to the MLflow run, as `thickets.storage.holder.Holder` writes it."""
ALIVE_TAG = "thickets.alive"
"""When that process last said that it does, in UTC; see `thickets.storage.tracking.heartbeat`."""

_CONNECT_TIMEOUT_S = 5.0
# What one call costs a run whose server is away or hangs: MLflow itself would try 8 times, 120 s each.
_HTTP_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
_SERVERS = ("http", "https", "databricks")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def end_runs_of(home: Home, flow_run_id: str, *, uri: str | None = None) -> int:
    """Mark the MLflow runs that a dead flow run left RUNNING as KILLED, in every experiment.

    Args:
        home: Where the default store is.
        flow_run_id: Prefect's id of the flow run, in the tag ``prefect.flow_run_id`` of its MLflow runs.
        uri: As for `Tracker.start`.

    Returns:
        How many were marked.

    Raises:
        RunError: The store cannot be reached or used.
    """
    uri = writable_uri(home, uri)
    with tracking_errors(uri):
        client = mlflow_client(uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        left = client.search_runs(
            experiments, f"tags.`{FLOW_RUN_TAG}` = '{flow_run_id}' and attributes.status = 'RUNNING'"
        )
        for run in left:
            client.set_terminated(run.info.run_id, "KILLED")
    return len(left)


def writable_uri(home: Home, uri: str | None = None) -> str:
    """Return the address to write to, checked: `uri`, ``$MLFLOW_TRACKING_URI``, or the SQLite database in the home.

    Raises:
        InputError: MLflow cannot write to addresses of this kind.
        RunError: No server listens at the address.
    """
    uri = given_uri(home, uri)
    _check_uri(uri)
    return uri


def check_reachable(uri: str) -> None:
    """Fail at once where MLflow's client would try for a while; an address that is no server's passes.

    Raises:
        TransientError: No server listens at the address.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TransientError(f"tracking.uri: cannot reach {uri}: {reason}") from None


def given_uri(home: Home, uri: str | None = None) -> str:
    """Return the address that `writable_uri` checks: `uri`, ``$MLFLOW_TRACKING_URI``, or the database in the home."""
    return uri or _default_uri(home)


def store_of_home(folder: RunFolder) -> str:
    """Return the address of the default store of the home that a run lies in now."""
    return sqlite_url(Home(folder.root.absolute().parents[1].resolve()).mlflow_db)


def mlflow_client(uri: str) -> Any:
    """Import MLflow, which takes seconds, turn off its notices, and return a client; creates a SQLite file.

    A server need not be there: the first call finds out. How long a call may take is limited unless the user has.
    """
    for name, value in _HTTP_LIMITS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow

    for name in ("alembic", "mlflow.pyfunc", "mlflow.store", "mlflow.tracking", "mlflow.transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if (database := sqlite_file(uri)) is not None:
        create_database(database, database.parent / "mlartifacts")
        follow_home(database)
    return mlflow.MlflowClient(tracking_uri=uri)


def is_server(uri: str) -> bool:
    """Return whether an address is that of a tracking server, which decides itself where artifacts go."""
    return (urlsplit(uri).scheme or uri) in _SERVERS


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Raise one-line errors of ours instead of those of MLflow and its database.

    Raises:
        TransientError: The network, a lock or the disk failed.
        RunError: Anything else failed.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError, SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        # MLflow's client wraps what the network raises; the database's lock and a full disk are operational errors.
        passing = (OSError, OperationalError)
        kind = TransientError if isinstance(error, passing) or isinstance(error.__context__, passing) else RunError
        raise kind(f"tracking.uri: {uri}: {line}") from None


def _default_uri(home: Home) -> str:
    # The variable first: a configuration must not have to name a server that runs only today.
    if named := os.environ.get("MLFLOW_TRACKING_URI"):
        return named
    return sqlite_url(Home(home.root.resolve()).writable().mlflow_db)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for any other address."""
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme == "sqlite" and path and "?" not in path and path != ":memory:" else None


def check_address(uri: str) -> str:
    """Check that an address is one that MLflow can write to, as far as can be told without a connection.

    Returns:
        Its kind: ``http``, ``sqlite``, ...

    Raises:
        InputError: It is none.
    """
    try:
        parts = urlsplit(uri)
        kind = parts.scheme.partition("+")[0] or uri  # postgresql+psycopg2
        is_whole = kind in (*_SERVERS, *_DATABASES) and (kind not in ("http", "https") or bool(parts.hostname))
        is_whole = is_whole and (parts.port or 0) >= 0  # raises beyond 65535
    except ValueError:
        is_whole = False
    if not is_whole:
        raise InputError(
            f"tracking.uri: MLflow cannot write to {uri!r}; use http(s)://host:port or sqlite:///path/mlflow.db"
        )
    return kind


def _check_uri(uri: str) -> None:
    """Fail at once where MLflow itself would try for minutes."""
    if check_address(uri) not in ("http", "https"):
        return
    try:
        check_reachable(uri)
    except TransientError as error:
        # Of another type: who has just typed the address is to be told now, and not after two more attempts.
        raise RunError(f"{error}; start the server or remove the setting") from None
