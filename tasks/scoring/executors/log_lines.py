"""Carries what an engine's process logs to the process that started it, whose terminal and log page a person reads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

# Of ours alone: what libraries log, they print.
_NAME = "thickets"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A record of Python's logging, as it travels between processes.

    Attributes:
        name: Of the logger.
        level: As Python's logging counts it.
        text: The message, with its traceback if it had one.
    """

    name: str
    level: int
    text: str

    def log(self) -> None:
        """Log it in this process."""
        logging.getLogger(self.name).log(self.level, "%s", self.text)


class LineSender(logging.Handler):
    """Calls a function with every line that our loggers are given in this process."""

    def __init__(self, send: Callable[[LogLine], None]) -> None:
        """Take the lines from now on.

        Args:
            send: Called from any thread; what it raises is dropped, since there is nowhere left to say it.
        """
        super().__init__()
        self._send = send
        ours = logging.getLogger(_NAME)
        ours.addHandler(self)
        if ours.level == logging.NOTSET:  # else the root's level holds, which is that of warnings
            ours.setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        try:
            self._send(LogLine(record.name, record.levelno, self.format(record)))
        except Exception:
            return
