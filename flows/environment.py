"""Defaults for the libraries below us, set before they are imported; a value the user has set always wins."""

from __future__ import annotations

import os

_DEFAULTS = {
    # Failures come back as exceptions and are told in one line; their tracebacks still reach the Prefect UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # A busy machine needs longer than Prefect's 20 s to start its temporary server.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # What runs here is nobody else's business.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def set_defaults() -> None:
    """Fill in environment variables that are not set."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
