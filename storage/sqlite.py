"""SQLite databases of other tools, made once and whole.

A tool that finds no database runs every migration of its history, for seconds of processor time; and two processes that
do so in one file at once break it for good. So one process makes an empty one, which is kept in the user's cache by the
tool's version, and every new home gets a copy.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from thickets.storage.errors import InputError
from thickets.storage.files import atomic_path
from thickets.storage.home import model_cache


def sqlite_url(database: Path, scheme: str = "sqlite") -> str:
    """Return a database's address, as SQLAlchemy takes it: the path stands in it as it is, a ``%`` too.

    Args:
        database: The file.
        scheme: With another driver, ``sqlite+aiosqlite``.

    Raises:
        InputError: The path holds a question mark, behind which SQLAlchemy looks for options.
    """
    if "?" in str(database):
        raise InputError(
            f"storage.home: {database.parent} holds a '?', which an address of SQLite cannot hold; choose another"
        )
    return f"{scheme}:///{database}"


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


def fill_from_template(database: Path, name: str, migrate: Callable[[Path], None]) -> None:
    """Fill a new database with what a tool's migrations make.

    Args:
        database: Absent or empty.
        name: Of the template: the tool and its version.
        migrate: Has the tool make an empty database. Called once per user and name; where the cache cannot be written,
            every time.
    """
    template = model_cache() / "databases" / f"{name}.db"
    try:
        create_once(template, lambda made: _migrated(made, migrate))
    except OSError:
        _migrated(database, migrate)
    else:
        _copy(template, database)


def run_script(database: Path, script: str) -> None:
    """Run SQL statements on a database, which is created if absent."""
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(script)


def _migrated(database: Path, migrate: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as scratch:  # where the tool may leave a log beside its database
        made = Path(scratch) / "new.db"
        migrate(made)
        _copy(made, database)


def _copy(source: Path, target: Path) -> None:
    """Copy a database as SQLite does it: with what is still in its log."""
    with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(target)) as copy:
        opened.backup(copy)
