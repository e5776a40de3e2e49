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
from thickets.storage.home import Home
from thickets.storage.tracking.new_database import create_database

RUN_ID_TAG = "thickets.run_id"
STAGE_TAG = "thickets.stage"
FLOW_RUN_TAG = "prefect.flow_run_id"
HOLDER_TAG = "thickets.holder"
"""The process that writes to the MLflow run, as `thickets.storage.holder.Holder` writes it."""

_CONNECT_TIMEOUT_S = 5.0
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
    uri = uri or _default_uri(home)
    _check_uri(uri)
    return uri


def mlflow_client(uri: str) -> Any:
    """Import MLflow, which takes seconds, turn off its notices, and return a client; creates a SQLite file."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow

    for name in ("alembic", "mlflow.pyfunc", "mlflow.store", "mlflow.tracking", "mlflow.transformers"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if (database := _sqlite_file(uri)) is not None:
        create_database(database, database.parent / "mlartifacts")
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
    return f"sqlite:///{Home(home.root.resolve()).writable().mlflow_db}"


def _sqlite_file(uri: str) -> Path | None:
    scheme, _, path = uri.partition(":///")
    return Path(path) if scheme == "sqlite" and path and "?" not in path and path != ":memory:" else None


def _check_uri(uri: str) -> None:
    """Fail at once where MLflow itself would try for minutes."""
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0] or uri  # postgresql+psycopg2
    if kind not in (*_SERVERS, *_DATABASES):
        raise InputError(
            f"tracking.uri: MLflow cannot write to {uri!r}; use http(s)://host:port or sqlite:///path/mlflow.db"
        )
    if kind not in ("http", "https"):
        return
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=_CONNECT_TIMEOUT_S).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"tracking.uri: cannot reach {uri}: {reason}; start the server or remove the setting") from None
