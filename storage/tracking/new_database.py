"""Makes MLflow's SQLite database as MLflow's own migrations make it, once and whole."""

from __future__ import annotations

import logging
import time
from importlib.metadata import version
from pathlib import Path

from thickets.storage.sqlite import create_once, fill_from_template, run_script
from thickets.storage.tracking.half_made import is_half_made, set_aside

# MLflow makes this experiment where there is none; two processes that do so at once meet an error.
_DEFAULT_EXPERIMENT = """
INSERT INTO experiments
    (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time, workspace)
VALUES (0, 'Default', '{location}', 'active', {now_ms}, {now_ms}, 'default');
"""
_SCHEMA_OF = "3.17.2"
"""The version of MLflow whose tables the statement above fits; any other one makes the experiment itself."""


def create_database(target: Path, artifacts: Path | None) -> None:
    """Create a tracking database if it is absent, or half-made and empty; it is made from a copy that is kept.

    MLflow itself is imported only where no such copy is.

    Args:
        target: The file.
        artifacts: Where MLflow's own experiment "Default" keeps its artifacts; None leaves that to MLflow.
    """

    def fill(database: Path) -> None:
        installed = version("mlflow")
        fill_from_template(database, f"mlflow-{installed}", _migrate)
        if artifacts is not None and installed == _SCHEMA_OF:
            location = (artifacts.resolve() / "0").as_uri().replace("'", "''")
            run_script(database, _DEFAULT_EXPERIMENT.format(location=location, now_ms=int(time.time() * 1000)))

    if is_half_made(target):
        set_aside(target)
    create_once(target, fill)


def _migrate(database: Path) -> None:
    """Have MLflow make an empty database by its migrations: seconds."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  defines the tables
    import sqlalchemy
    from mlflow.store.db.utils import _initialize_tables

    logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # after the import, which sets it anew
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    _initialize_tables(engine)
    engine.dispose()
