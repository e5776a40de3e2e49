"""An MLflow server on loopback that a test can stop and start again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.stoppable_server import StoppableServer, vacant_port


class MlflowServer(StoppableServer):
    """Attributes: uri, its address."""

    def __init__(self, folder: Path, database: Path) -> None:
        port = vacant_port()
        self.uri = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
        command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
        command += ["--port", str(port), "--host", "127.0.0.1"]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        super().__init__(command, environment, folder, f"{self.uri}/health")
