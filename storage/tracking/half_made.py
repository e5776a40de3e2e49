"""Notices a tracking database that MLflow's migrations never finished, and makes room for a new one.

Two processes that migrate one file at once, or a kill in the middle, leave tables behind with which MLflow never opens
it again. A new database of ours is made whole beside its place; this is for files that others have made.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from thickets.storage.home import timestamp

log = logging.getLogger(__name__)

_LEFT_BEHIND = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name GLOB '_alembic_tmp_*'"
_HAS_RUNS = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'runs'"
_QUIET_S = 10.0
"""A migration that is in progress writes more often than that."""


def is_half_made(database: Path) -> bool:
    """Return whether a database holds what an unfinished migration leaves, and no run; one at work is waited for."""
    while _is_half_made(database):
        try:
            quiet_s = time.time() - database.stat().st_mtime
        except FileNotFoundError:  # another process has set it aside
            return False
        if not 0 <= quiet_s < _QUIET_S:
            return True
        time.sleep(min(1.0, _QUIET_S - quiet_s))
    return False


def set_aside(database: Path) -> None:
    """Rename a half-made database, unless another process has done so and made a whole one meanwhile."""
    with FileLock(database.with_name(f"{database.name}.lock")):
        if not _is_half_made(database):
            return
        kept = database.with_name(f"{database.name}.broken-{timestamp()}")
        database.rename(kept)
        for suffix in ("-journal", "-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
    log.warning("%s was made half and held no run; it is made again, and the old one is now %s", database, kept.name)


def _is_half_made(database: Path) -> bool:
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as store:
            (left,) = store.execute(_LEFT_BEHIND).fetchone()
            (has_runs,) = store.execute(_HAS_RUNS).fetchone()
            n_runs = store.execute("SELECT count(*) FROM runs").fetchone()[0] if left and has_runs else 0
    except sqlite3.Error:  # MLflow says what is wrong with it
        return False
    return bool(left) and n_runs == 0
