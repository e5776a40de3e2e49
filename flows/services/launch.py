"""The command, the environment and the health check of each service.

A password is passed on in the environment, never as an argument: every user of the machine sees arguments.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thickets.flows.deployments import POOL
from thickets.flows.results.looking import VIEW_VARIABLE
from thickets.flows.runtime.environment import WORKER, without_command_line_defaults
from thickets.flows.runtime.prefect_database import create_prefect_database
from thickets.flows.services.settings import AUTH_VARIABLE, Credentials, ServiceSettings
from thickets.storage.home import Home
from thickets.storage.sqlite import sqlite_url
from thickets.storage.tracking.moved_home import follow_home
from thickets.storage.tracking.new_database import create_database

_ADMIN_FILE = """[mlflow]
default_permission = READ
database_uri = {database}
admin_username = {user}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """Command, environment and health check of one service.

    Attributes:
        name: Name of the service and of its log file.
        command: The program and its arguments.
        environment: All environment variables of the process.
        address: The server's URL, or the worker's name and pool.
        is_healthy: Tells whether the service is up.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    address: str
    is_healthy: Callable[[], bool]


def launches(settings: ServiceSettings) -> list[Launch]:
    """Return the launches of Prefect, MLflow, the pages of runs and the worker, in the order of their start."""
    return [_prefect(settings), _mlflow(settings), _view(settings), _worker(settings)]


def launch_server(name: Literal["prefect", "mlflow"], settings: ServiceSettings) -> Launch:
    """Return the launch of one server."""
    return _prefect(settings) if name == "prefect" else _mlflow(settings)


def client_environment(settings: ServiceSettings) -> dict[str, str]:
    """Return the variables that point Prefect's and MLflow's clients at the servers, and readers at the pages."""
    variables = {
        "PREFECT_API_URL": settings.prefect_api,
        "MLFLOW_TRACKING_URI": settings.mlflow,
        VIEW_VARIABLE: settings.view,
    }
    return variables | credential_variables(settings.credentials)


def credential_variables(credentials: Credentials | None) -> dict[str, str]:
    """Return the variables that Prefect's and MLflow's clients read credentials from."""
    if credentials is None:
        return {}
    return {
        "PREFECT_API_AUTH_STRING": credentials.pair,
        "MLFLOW_TRACKING_USERNAME": credentials.user,
        "MLFLOW_TRACKING_PASSWORD": credentials.password,
    }


def answers(url: str, credentials: Credentials | None) -> bool:
    """Tell whether a GET is answered with 200."""
    return _open(url, credentials, None) is not None


def ask(url: str, credentials: Credentials | None, body: dict[str, Any]) -> Any:
    """Send a POST and return the JSON of its answer; None without an answer."""
    answer = _open(url, credentials, json.dumps(body).encode())
    return None if answer is None else json.loads(answer)


def _open(url: str, credentials: Credentials | None, body: bytes | None) -> bytes | None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    if credentials is not None:
        token = base64.b64encode(credentials.pair.encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return bytes(response.read())
    except OSError:  # no server there yet, or one that cannot answer yet
        return None


def _prefect(settings: ServiceSettings) -> Launch:
    environment = _common(settings) | {
        # Leases of the accelerator limits outlive a restart; in memory a slot that is held then would stay taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_UI_API_URL": "/api",  # as the browser reaches it, whatever the host is called there
    }
    if "PREFECT_API_DATABASE_CONNECTION_URL" not in environment:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = sqlite_url(
            settings.home / "prefect.db", "sqlite+aiosqlite"
        )
    create_prefect_database(environment["PREFECT_API_DATABASE_CONNECTION_URL"])
    if settings.credentials is not None:
        environment["PREFECT_SERVER_API_AUTH_STRING"] = settings.credentials.pair
    where = ["--host", settings.host, "--port", str(settings.prefect_port)]
    return Launch(
        "prefect",
        [sys.executable, "-m", "prefect", "server", "start", *where],
        environment,
        settings.prefect_api.removesuffix("/api"),
        lambda: answers(f"{settings.prefect_api}/health", settings.credentials),
    )


def _mlflow(settings: ServiceSettings) -> Launch:
    home = Home(settings.home)
    environment = _common(settings)
    environment.pop("MLFLOW_TRACKING_URI", None)  # that is for its clients
    if "MLFLOW_BACKEND_STORE_URI" not in environment:
        environment["MLFLOW_BACKEND_STORE_URI"] = sqlite_url(home.mlflow_db)
        # The experiment "Default" is the server's: where it keeps artifacts depends on who may reach it.
        create_database(home.mlflow_db, None)
        follow_home(home.mlflow_db)
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", settings.host, "--port", str(settings.mlflow_port)]
    if settings.is_loopback:
        # Clients on this machine write artifacts themselves: the same files with and without the server.
        command += ["--no-serve-artifacts"]
        environment.setdefault("MLFLOW_DEFAULT_ARTIFACT_ROOT", home.mlflow_artifacts.as_uri())
    else:
        command += ["--serve-artifacts"]
        environment.setdefault("MLFLOW_ARTIFACTS_DESTINATION", home.mlflow_artifacts.as_uri())
    if settings.credentials is not None:
        command += ["--app-name", "basic-auth"]
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(_write_admin_file(settings.home, settings.credentials.user)),
            "MLFLOW_AUTH_ADMIN_PASSWORD": settings.credentials.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        }
    return Launch(
        "mlflow",
        command,
        environment,
        settings.mlflow,
        lambda: answers(f"{settings.mlflow}/health", settings.credentials),
    )


def _view(settings: ServiceSettings) -> Launch:
    environment = _common(settings)
    if settings.credentials is not None:
        environment[AUTH_VARIABLE] = settings.credentials.pair
    where = ["--home", str(settings.home), "--host", settings.host, "--port", str(settings.view_port)]
    return Launch(
        "view",
        [sys.executable, "-m", "thickets", "view", "--no-open", *where],
        environment,
        settings.view,
        lambda: answers(f"{settings.view}/static/view.js", settings.credentials),
    )


def _worker(settings: ServiceSettings) -> Launch:
    name = socket.gethostname()
    environment = {**WORKER, **_common(settings), **client_environment(settings)}
    # A run's process finds what this one finds, the current folder included, and in the same order.
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)

    def is_online() -> bool:
        found = ask(f"{settings.prefect_api}/work_pools/{POOL}/workers/filter", settings.credentials, {})
        return any(worker["name"] == name and worker["status"] == "ONLINE" for worker in found or [])

    command = [sys.executable, "-m", "thickets.flows.services.worker"]
    return Launch("worker", command, environment, f"{name}, of work pool {POOL}", is_online)


def _common(settings: ServiceSettings) -> dict[str, str]:
    environment = without_command_line_defaults()  # the worker's log shows what its runs log
    environment.pop(AUTH_VARIABLE, None)
    environment["THICKETS_HOME"] = str(settings.home)
    environment["PYTHONSAFEPATH"] = "1"  # a user's `storage` or `queue` in the current folder stands in nobody's way
    environment.setdefault("PREFECT_HOME", str(settings.home / "services" / "prefect"))
    return environment


def _write_admin_file(home: Path, user: str) -> Path:
    """Write MLflow's authentication settings, without the password, and return the path."""
    path = home / "services" / "mlflow-auth.ini"
    values = {"database": sqlite_url(home / "mlflow-auth.db"), "user": user}
    # MLflow reads it with `configparser`, to which a single % begins a reference.
    escaped = {name: value.replace("%", "%%") for name, value in values.items()}
    path.write_text(_ADMIN_FILE.format(**escaped), encoding="utf-8")
    path.chmod(0o600)
    return path
