"""Finds what a home holds and no run needs: temporaries, what was replaced or is broken, shards that no run names."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from thickets.flows.housekeeping.removal import Item, Removal, is_flow_in_progress, item
from thickets.storage.files import TEMPORARY_SUFFIX
from thickets.storage.home import Home
from thickets.storage.shards.file import BROKEN_SUFFIX
from thickets.storage.shards.uses import merged, runs_of, uses_of

# A writer that is younger may still be at work.
_OLD_S = 3600.0
_REPLACED = "replaced"


def plan_cleaning(home: Home, older_than_s: float = _OLD_S) -> Removal:
    """Say what can be removed from a home; nothing is removed. What a run in progress uses is left alone.

    Args:
        home: The home.
        older_than_s: Seconds; younger temporaries stay, because somebody may be writing them.

    Raises:
        InputError: It cannot be told what a run of the home uses.
    """
    runs = runs_of(home)
    uses = {run.run_id: uses_of(home, run) for run in runs}
    in_progress = [run for run in runs if home.is_locked(run.run_id)]
    busy = {run.root for run in in_progress}
    busy |= {home.shards(name) for run in in_progress for name in uses[run.run_id]}
    used, root = merged(uses.values()), home.root / "shards"
    items = [item(path, "replaced by a run with --fresh") for path in _replaced(home.root, root)]
    for folder in (home.root, home.runs, root):
        items += [item(path, "left by a writer that was killed") for path in _temporaries(folder, older_than_s)]
    stays = [f"{run.run_id} and its shards: in progress" for run in in_progress]
    orphans: list[Item] = []
    for folder in _folders(root):
        if folder.name == _REPLACED or folder in busy:
            continue
        if folder.name not in used:
            orphans.append(item(folder, "shards that no run uses"))
            continue
        verdicts = used[folder.name]
        unused = [] if verdicts is None else [each for each in _verdicts(folder) if each.name not in verdicts]
        orphans += [item(each, "verdicts that no run uses") for each in unused]
        for each in (folder, *(path for path in _verdicts(folder) if path not in unused)):
            items += [item(path, "unreadable, and scored again") for path in sorted(each.glob(f"*{BROKEN_SUFFIX}"))]
            items += [item(path, "left by a writer that was killed") for path in _temporaries(each, older_than_s)]
    if orphans and is_flow_in_progress(home):
        stays.append("shards that no run uses: a flow is in progress that may use them")
        orphans = []
    for folder in _folders(home.runs):
        if folder not in busy:
            items += [item(path, "left by a writer that was killed") for path in _left_in_run(folder, older_than_s)]
    return Removal((*items, *orphans), tuple(stays))


def _replaced(*folders: Path) -> list[Path]:
    return [path for path in (folder / _REPLACED for folder in folders) if path.is_dir()]


def _folders(root: Path) -> list[Path]:
    """Return the folders in a folder, but for temporaries."""
    found = sorted(root.iterdir()) if root.is_dir() else []
    return [path for path in found if path.is_dir() and not path.name.startswith(".")]


def _verdicts(shards: Path) -> list[Path]:
    return [path for path in sorted(shards.glob("verdicts-*")) if path.is_dir()]


def _temporaries(folder: Path, older_than_s: float) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.glob(f".*{TEMPORARY_SUFFIX}")) if _is_old(path, older_than_s)]


def _left_in_run(folder: Path, older_than_s: float) -> Iterator[Path]:
    """Yield temporaries anywhere in a run's folder, none inside another; DuckDB's own are beside its databases."""
    found = [*folder.rglob(f".*{TEMPORARY_SUFFIX}"), *folder.rglob("*.duckdb.tmp")]
    for path in sorted(found):
        if _is_old(path, older_than_s) and not any(other in path.parents for other in found):
            yield path


def _is_old(path: Path, older_than_s: float) -> bool:
    """Return whether nothing in it was written lately."""
    try:
        newest = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
    except FileNotFoundError:
        return False  # its writer has just finished
    return newest <= time.time() - older_than_s
