"""SQLite databases of other tools, made from a script of what their migrations would make, once and whole.

A tool that finds no database runs every migration of its history, for seconds of processor time; and two processes that
do so in one file at once break it for good.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from thickets.storage.files import atomic_path


def create_once(target: Path, fill: Callable[[Path], None]) -> None:
    """Create a database if it is absent; of processes that do so at once one makes it, and the others wait.

    Args:
        target: The database; a file with ``.lock`` after its name stays beside it.
        fill: Makes the database in a temporary file, and closes it.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            with atomic_path(target) as temporary:
                fill(temporary)


def run_script(database: Path, script: str) -> None:
    """Run SQL statements on a database, which is created if absent."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)


def script_of(database: Path) -> str:
    """Return the SQL statements that make a database again, rows included."""
    with closing(sqlite3.connect(database)) as connection:
        return "".join(f"{line}\n" for line in connection.iterdump())
