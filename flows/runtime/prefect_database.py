"""Makes a Prefect server's SQLite database as Prefect's own migrations make it, once and whole.

python -m thickets.flows.runtime.prefect_database FILE
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from thickets.storage.sqlite import create_once, fill_from_template

_SQLITE = "sqlite+aiosqlite:///"


def create_prefect_database(url: str) -> None:
    """Create the database of a Prefect server if it is absent; leave to Prefect what is no file of SQLite.

    Args:
        url: ``PREFECT_API_DATABASE_CONNECTION_URL``.
    """
    path, _, options = url.removeprefix(_SQLITE).partition("?")
    if not url.startswith(_SQLITE) or ":memory:" in path or options:
        return
    name = f"prefect-{version('prefect')}"
    try:
        create_once(Path(path), lambda database: fill_from_template(database, name, _migrate_elsewhere))
    except subprocess.CalledProcessError:  # the server will do it, and say what is wrong
        return


def _migrate_elsewhere(database: Path) -> None:
    """Migrate in a process of its own: this one must not import the whole server, nor take its settings for its own."""
    command = [sys.executable, "-m", "thickets.flows.runtime.prefect_database", str(database)]
    subprocess.run(command, check=True, capture_output=True)


def _migrate(database: Path) -> None:
    """Have Prefect make an empty database by its migrations, for seconds; in a process that has not imported it yet."""
    os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"{_SQLITE}{database}"
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


if __name__ == "__main__":
    _migrate(Path(sys.argv[1]))
