"""Has the tracking database of a home that was moved or copied name the artifacts that came along with it.

MLflow keeps the address of every artifact folder as it was when it was made. Where a home was is in the database too:
its experiment "Default" keeps its artifacts in the home.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from thickets.storage.holder import Holder
from thickets.storage.home import Home
from thickets.storage.locks import is_held

log = logging.getLogger(__name__)

_DEFAULT = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"
_SUFFIX = "/mlartifacts/0"
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_WRITER_WAITS_S = 30.0


def follow_home(database: Path) -> None:
    """Change the addresses of artifacts if the home around a database is not where they say; else only look.

    Addresses in other homes, of a database that several share, stay. So do all while a run of another machine is in
    progress, which may see this home under the other path; and in a database that cannot be written to.

    Args:
        database: ``mlflow.db`` of a home; any other file is left alone.
    """
    home = Home(database.parent)
    if database != home.mlflow_db or not (home.runs.is_dir() or home.mlflow_artifacts.is_dir()):
        return
    now = home.mlflow_artifacts.resolve().as_uri()
    try:
        if _recorded(database, now) is None:
            return
        if elsewhere := _runs_of_other_machines(home):
            log.warning(
                "the artifacts of %s are recorded under another path; left so while %s is in progress on another "
                "machine",
                home.root,
                ", ".join(elsewhere),
            )
            return
        with FileLock(database.with_name(f"{database.name}.lock")):
            if (then := _recorded(database, now)) is not None:  # nobody else has done it meanwhile
                _rewrite(database, then, now)
                log.info("this home was at %s: MLflow's artifacts are found at its new place", _path(then).parent)
    except (sqlite3.Error, OSError) as error:
        log.debug("addresses of artifacts in %s stay as they are: %s", database, error)


def _recorded(database: Path, now: str) -> str | None:
    """Return the address of the artifacts' folder that the database has, if that is another folder."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as store:
        row = store.execute(_DEFAULT).fetchone()
    location = str(row[0] or "") if row else ""
    if not location.startswith("file:") or not location.endswith(_SUFFIX):
        return None
    then = location.removesuffix("/0")
    if then == now:
        return None
    here = _path(now)
    return None if here.exists() and _path(then).exists() and here.samefile(_path(then)) else then


def _rewrite(database: Path, then: str, now: str) -> None:
    with closing(sqlite3.connect(database, timeout=_WRITER_WAITS_S)) as store, store:
        for table, column in _ADDRESSES:
            is_inside = f"{column} = ? OR substr({column}, 1, ?) = ?"
            store.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {is_inside}",
                (now, len(then) + 1, then, len(then) + 1, f"{then}/"),
            )


def _runs_of_other_machines(home: Home) -> list[str]:
    found = []
    for lock in sorted(home.runs.glob("*/run.lock")):
        holder = Holder.parse(lock.read_text(encoding="utf-8", errors="replace"))
        if holder is not None and not holder.is_on_this_machine and is_held(lock) is not False:
            found.append(lock.parent.name)
    return found


def _path(address: str) -> Path:
    return Path(unquote(urlsplit(address).path))
