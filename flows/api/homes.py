"""Finds homes and runs for the other modules here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thickets.storage.home import Home, RunFolder


def home_at(folder: Path | str | None) -> Home:
    """Return a home: the folder, else ``$THICKETS_HOME``, else ``thickets-data``."""
    from thickets.flows.config.run import StorageConfig
    from thickets.storage.home import Home

    return Home(Path(folder) if folder is not None else StorageConfig().home)


def find(run: str, home: Path | str | None) -> tuple[Home, RunFolder]:
    """Find a run by id, unique prefix or ``latest``.

    Raises:
        InputError: No run or several fit.
    """
    from thickets.flows.results.runs import find_run

    where = home_at(home)
    return where, find_run(where, run)


def use_services(home: Path) -> None:
    """Have flows use the services of `thickets up` in a home, if they are up."""
    from thickets.flows.services.connect import connect_services

    connect_services(home)
