"""Makes MLflow's SQLite database from `mlflow_schema.sql`, which is what MLflow's own migrations make.

After MLflow has changed its schema, write the file again:

    python -m thickets.storage.tracking.new_database > storage/tracking/mlflow_schema.sql
"""

from __future__ import annotations

import sys
import tempfile
import time
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from thickets.storage.sqlite import create_once, run_script, script_of

SCHEMA_OF = "3.17.2"
"""The version of MLflow that `mlflow_schema.sql` is of; any other one makes its own."""

# MLflow makes this experiment where there is none; two processes that do so at once meet an error.
_DEFAULT_EXPERIMENT = """
INSERT INTO experiments
    (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)
VALUES (0, 'Default', '{location}', 'active', {now_ms}, {now_ms}, 'default');
"""


def create_database(target: Path, artifacts: Path | None) -> None:
    """Create a tracking database if it is absent; needs no import of MLflow, if that has the version of the schema.

    Args:
        target: The file.
        artifacts: Where MLflow's own experiment "Default" keeps its artifacts; None leaves that to MLflow.
    """

    def fill(database: Path) -> None:
        if version("mlflow") != SCHEMA_OF:
            migrate(database)
            return
        run_script(database, packaged_schema())
        if artifacts is not None:
            location = (artifacts.resolve() / "0").as_uri().replace("'", "''")
            run_script(database, _DEFAULT_EXPERIMENT.format(location=location, now_ms=int(time.time() * 1000)))

    create_once(target, fill)


def packaged_schema() -> str:
    """Return the statements that make an empty tracking database."""
    return resources.files("thickets.storage.tracking").joinpath("mlflow_schema.sql").read_text(encoding="utf-8")


def migrate(database: Path) -> None:
    """Have MLflow make an empty database by its migrations: seconds."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  defines the tables
    import sqlalchemy
    from mlflow.store.db.utils import _initialize_tables

    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    _initialize_tables(engine)
    engine.dispose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "mlflow.db"
        migrate(made)
        sys.stdout.write(script_of(made))
