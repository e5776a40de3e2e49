"""Tells whether a lock is held, without writing: who only looks may have no permission, or a disk mounted read-only."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def is_held(lock: Path) -> bool | None:
    """Return whether a process holds a `filelock.FileLock`; it is never created, and held for an instant at most.

    Returns:
        False too where there is no such file; None where it cannot be told: the file cannot be opened for reading, or
        its file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return _is_held_where_only_writers_ask(lock)
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    try:
        # Shared, which reading permission is enough for, and which two that look at once do not refuse each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return True if error.errno in _HELD else None
    finally:
        os.close(descriptor)
    return False


def _is_held_where_only_writers_ask(path: Path) -> bool | None:
    if not path.exists():
        return False
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return None
    lock.release()
    return False
