"""Makes Prefect's SQLite database from `prefect_schema.sql`, which is what Prefect's own migrations make.

After Prefect has changed its schema, write the file again:

    python -m thickets.flows.runtime.prefect_database > flows/runtime/prefect_schema.sql
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from thickets.storage.sqlite import create_once, run_script, script_of

SCHEMA_OF = "3.7.7"
"""The version of Prefect that `prefect_schema.sql` is of; any other one makes its own."""

_SQLITE = "sqlite+aiosqlite:///"


def create_prefect_database(url: str) -> None:
    """Create the database of a Prefect server if it is absent; leave to Prefect what is no file of SQLite.

    Args:
        url: ``PREFECT_API_DATABASE_CONNECTION_URL``.
    """
    path, _, options = url.removeprefix(_SQLITE).partition("?")
    if version("prefect") != SCHEMA_OF or not url.startswith(_SQLITE) or ":memory:" in path or options:
        return
    create_once(Path(path), lambda database: run_script(database, packaged_schema()))


def packaged_schema() -> str:
    """Return the statements that make an empty database."""
    return resources.files("thickets.flows.runtime").joinpath("prefect_schema.sql").read_text(encoding="utf-8")


def migrate(database: Path) -> None:
    """Have Prefect make an empty database by its migrations, for seconds; in a process that has not imported it yet."""
    os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] = f"{_SQLITE}{database}"
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "prefect.db"
        migrate(made)
        sys.stdout.write(script_of(made))
