"""Environment variables that libraries read when they are imported; a value that the user has set always wins."""

from __future__ import annotations

import gc
import getpass
import logging
import os
import sys

from thickets.tasks.allocator import keep_freed_memory

# Prefect sends this logger's lines to the flow run's page; the command line prints them.
log = logging.getLogger("thickets")


_RUNTIME = {
    # PyTorch's threads spin for milliseconds while they wait for each other. On a busy machine that takes the core away
    # from the thread they wait for; sleeping at once costs a wake-up at every step on a quiet one. A short spin is
    # nearly the best of both (`python -m benchmarks.generation --waits`).
    "GOMP_SPINCOUNT": "2000",
    "TOKENIZERS_PARALLELISM": "false",
    # A busy machine needs longer than Prefect's 20 s to start its temporary server.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "thickets",
    # `thickets estimate` and a notebook plan a run outside of any flow, where there is no page to send a line to.
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # No library sends usage data.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}
WORKER = {
    # Progress bars that redraw themselves fill the log of a run.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""For a worker and the flow runs that it starts."""
_COMMAND_LINE = {
    # Failures come back as exceptions and are printed in one line; their tracebacks still reach the Prefect UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "TRANSFORMERS_VERBOSITY": "error",
}
# Those of them that this process has set, and not its user.
_ours: dict[str, str] = {}
# Python looks for garbage after every 700 new objects, and again and again at the hundreds of thousands that libraries
# make while they are imported and that stay: a quarter of the time of a short command.
_GARBAGE = (50_000, 50, 50)
_NO_TERMINAL = {
    # Progress bars that redraw themselves fill a log file with thousands of lines.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def set_runtime_defaults() -> None:
    """Set the defaults for every use of the flows; called when the package is imported, before PyTorch and Prefect."""
    _set(_RUNTIME)
    keep_freed_memory()
    _name_the_user()
    log = logging.getLogger("thickets")
    if log.level == logging.NOTSET:  # else the root's level holds, and Prefect would only get warnings
        log.setLevel(logging.INFO)


def set_command_line_defaults() -> None:
    """Set the defaults of the command line: plain lines of our own log on standard error, and no other logger's."""
    collect_garbage_seldom()
    _ours.update({name: value for name, value in _COMMAND_LINE.items() if name not in os.environ})
    _set(_COMMAND_LINE)
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # it logs tracebacks of errors that it also raises
    log = logging.getLogger("thickets")
    if not any(isinstance(handler, _PlainLines) for handler in log.handlers):
        log.addHandler(_PlainLines())
    if not sys.stderr.isatty():
        _set(_NO_TERMINAL)


def without_command_line_defaults() -> dict[str, str]:
    """Return this process's environment for one whose output is read in a log: what the user has set, it keeps."""
    return {name: value for name, value in os.environ.items() if _ours.get(name) != value}


def collect_garbage_seldom() -> None:
    """Have Python look for garbage less often; for processes of our own, not for a user's."""
    gc.set_threshold(*_GARBAGE)


def _name_the_user() -> None:
    """Set USER where the user has no passwd entry, as in many containers: MLflow and PyTorch fail without a name."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ["USER"] = f"uid-{os.getuid()}"


class _PlainLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # In one write: another process may be writing to the same terminal.
        print(f"{record.getMessage()}\n", end="", file=sys.stderr, flush=True)


def _set(defaults: dict[str, str]) -> None:
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
