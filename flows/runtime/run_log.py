"""Sends our log to the flow run's page, whoever started the process and in whatever order it imported things.

Prefect reads PREFECT_LOGGING_EXTRA_LOGGERS once, when it is first imported. Where that was before us (a worker of
somebody else's, a script) or where the variable names other loggers, nothing of ours would get there.
"""

from __future__ import annotations

import logging

from prefect.logging.handlers import APILogHandler

from thickets.flows.runtime.environment import log


def send_log_to_page() -> logging.Handler:
    """Have what `thickets` and every logger below it are given sent to the page of the flow run it was logged in.

    Returns:
        The handler that sends it.
    """
    handler = next((each for each in handlers_of(log) if isinstance(each, APILogHandler)), None)
    if handler is None:
        handler = _PageHandler()
        log.addHandler(handler)
    return handler


def handlers_of(logger: logging.Logger) -> list[logging.Handler]:
    """Return the handlers that a logger's records reach: its own, and those of the loggers above it."""
    found = list(logger.handlers)
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        found += logger.handlers
    return found


class _PageHandler(APILogHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Drop what was logged outside of a flow run, which has no page, without a word."""
