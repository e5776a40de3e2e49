"""One service in the foreground, for a container: `python -m thickets.flows.services.one prefect|mlflow|worker`.

It is what `thickets up` starts, on every address of the container and the usual port, so THICKETS_AUTH has to be set.
The worker is told where the servers are by PREFECT_API_URL and MLFLOW_TRACKING_URI, and passes THICKETS_AUTH on to
their clients. With `--healthy` nothing is started: the exit status says whether the server of this container answers.
"""

from __future__ import annotations

import os
import sys

from thickets.flows.config.run import StorageConfig
from thickets.flows.services.launch import answers, credential_variables, launch_server
from thickets.flows.services.settings import AUTH_VARIABLE, ServiceSettings, credentials_of, make_settings
from thickets.storage.errors import InputError

HOST, PREFECT_PORT, MLFLOW_PORT, VIEW_PORT = "0.0.0.0", 4200, 5000, 4300
SERVERS = ("prefect", "mlflow")
NAMES = (*SERVERS, "worker")


def main(arguments: list[str]) -> None:
    """Become the service that is named, or tell whether it is healthy.

    Raises:
        InputError: The service is unknown, or THICKETS_AUTH is missing or weak.
    """
    name, options = (arguments[0] if arguments else ""), arguments[1:]
    if name not in NAMES:
        raise InputError(f"service: found {name!r}; use {', '.join(NAMES)}")
    if options == ["--healthy"] and name in SERVERS:
        sys.exit(0 if is_healthy(name) else 1)
    if options:
        raise InputError(f"option: found {' '.join(options)!r}; servers take --healthy, the worker nothing")
    command, environment = worker() if name == "worker" else server(name)
    os.execve(command[0], command, environment)


def server(name: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a server, as `thickets up` has them."""
    home = StorageConfig().home
    settings = make_settings(home, HOST, PREFECT_PORT, MLFLOW_PORT, VIEW_PORT)
    (settings.home / "services").mkdir(parents=True, exist_ok=True)
    launch = launch_server("prefect" if name == "prefect" else "mlflow", settings)
    return launch.command, launch.environment


def worker() -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a worker; it reads its own variables, and gets the clients' beside."""
    environment = dict(os.environ) | credential_variables(credentials_of(os.environ.get(AUTH_VARIABLE)))
    environment.pop(AUTH_VARIABLE, None)
    return [sys.executable, "-m", "thickets.flows.services.worker"], environment


def is_healthy(name: str) -> bool:
    """Tell whether this container's server answers."""
    credentials = credentials_of(os.environ.get(AUTH_VARIABLE))
    settings = ServiceSettings(StorageConfig().home.absolute(), HOST, PREFECT_PORT, MLFLOW_PORT, VIEW_PORT, credentials)
    url = settings.prefect_api if name == "prefect" else settings.mlflow
    return answers(f"{url}/health", settings.credentials)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
