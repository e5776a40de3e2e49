"""When a session began: with its command, imports and checks and the start of servers included, or with itself."""

from __future__ import annotations

import time

_command_began: list[float] = []
_has_session = False


def count_from_command() -> None:
    """Have the first session of this process count from the process's start: it is a command's."""
    import psutil  # it needs modules that not every system has; who only imports this need not

    _command_began[:] = [time.monotonic() - max(0.0, time.time() - psutil.Process().create_time())]


def session_began() -> float:
    """Return when a session that calls this at its start began, as `time.monotonic` counts."""
    global _has_session
    is_first, _has_session = not _has_session, True
    return _command_began[0] if is_first and _command_began else time.monotonic()


def seconds_of_command(otherwise: float) -> float:
    """Return how long ago the command was given, or `otherwise` where this process is no command's."""
    return time.monotonic() - _command_began[0] if _command_began else otherwise
