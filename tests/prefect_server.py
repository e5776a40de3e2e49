"""A Prefect server on loopback that a test can stop and start again; most tests share that of the fixture instead."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.stoppable_server import StoppableServer, vacant_port
from thickets.flows.runtime.prefect_database import create_prefect_database


class PrefectServer(StoppableServer):
    """Attributes: api, its PREFECT_API_URL."""

    def __init__(self, folder: Path) -> None:
        port = vacant_port()
        self.api = f"http://127.0.0.1:{port}/api"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        environment["PREFECT_HOME"] = str(folder / "prefect")
        database = f"sqlite+aiosqlite:///{folder / 'prefect.db'}"
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database
        create_prefect_database(database)
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        super().__init__(command, environment, folder, f"{self.api}/health")
