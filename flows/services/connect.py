"""Points a command at the services of its home, where they are up and PREFECT_API_URL names no other server."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from thickets.flows.results.looking import VIEW_VARIABLE
from thickets.flows.services.settings import AUTH_VARIABLE, credentials_of
from thickets.flows.services.state import read_state
from thickets.storage.errors import InputError


def connect_services(home: Path, say: Callable[[str], None] = lambda line: None) -> bool:
    """Set PREFECT_API_URL and its like for this process; call it before Prefect is imported.

    Args:
        home: `storage.home`.
        say: Called with the address of the Prefect server.

    Returns:
        Whether the services of this home are used; False where the user's own PREFECT_API_URL names another server.

    Raises:
        InputError: The services need a password that is not in the environment.
    """
    state = read_state(home)
    if state is None or not state.is_up or os.environ.get("PREFECT_API_URL", state.prefect_api) != state.prefect_api:
        return False
    os.environ["PREFECT_API_URL"] = state.prefect_api
    os.environ.setdefault("MLFLOW_TRACKING_URI", state.mlflow)
    if state.view is not None:
        os.environ.setdefault(VIEW_VARIABLE, state.view)
    if state.needs_credentials and "PREFECT_API_AUTH_STRING" not in os.environ:
        credentials = credentials_of(os.environ.get(AUTH_VARIABLE))
        if credentials is None:
            raise InputError(f"{AUTH_VARIABLE}: missing; the services of {home} ask for user:password")
        os.environ["PREFECT_API_AUTH_STRING"] = credentials.pair
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", credentials.user)
        os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", credentials.password)
    say(f"using the services of {home}: {state.prefect_api.removesuffix('/api')}")
    return True
