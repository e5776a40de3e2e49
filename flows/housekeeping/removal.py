"""What is to be removed, as values; and how it is removed, so that a kill leaves nothing half there."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from thickets.storage.files import temporary_beside
from thickets.storage.home import Home
from thickets.storage.locks import is_held


@dataclass(frozen=True, slots=True)
class Item:
    """A file or folder that goes.

    Attributes:
        why: In a few words.
        n_bytes: Of all files in it.
    """

    path: Path
    why: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes, and what stays although it might be expected to go.

    Attributes:
        items: No one lies in another; in the order in which they go.
        stays: A sentence each.
    """

    items: tuple[Item, ...]
    stays: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Of everything that goes."""
        return sum(item.n_bytes for item in self.items)

    def carry_out(self) -> None:
        """Remove the items; what another process has removed meanwhile is fine."""
        for item in self.items:
            _remove(item.path)


def item(path: Path, why: str) -> Item:
    """Measure a file or folder that is to go."""
    return Item(path, why, sum(size_of(each) for each in files_in(path)))


def files_in(path: Path) -> Iterable[Path]:
    """Return a file itself, or every file in a folder, links not followed."""
    if path.is_dir() and not path.is_symlink():
        return (each for each in path.rglob("*") if each.is_symlink() or each.is_file())
    return (path,)


def size_of(path: Path) -> int:
    """Return the bytes of a file; 0 if it has just gone."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def is_flow_in_progress(home: Home) -> bool:
    """Return whether a flow uses the home; one that learns a limit uses shards that no run names yet."""
    # A lock that cannot be read may be held.
    return any(is_held(lock) is not False for lock in (home.root / "flow-runs").glob("*.lock"))


def _remove(path: Path) -> None:
    """Remove a file or a folder; a folder is renamed first, so that nobody finds a part of it."""
    try:
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        going = temporary_beside(path)
        path.rename(going)
    except FileNotFoundError:
        return
    shutil.rmtree(going)
