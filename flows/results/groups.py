"""The groups of a home: runs of several problems, of several models, of rounds, and what was made of them together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from thickets.flows.results.comparison import Group
from thickets.flows.results.rounds import Rounds
from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home
from thickets.tasks.results.regimes import Regimes

Kept = TypeVar("Kept", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class GroupFolder:
    """The files of one group.

    Attributes:
        root: ``<home>/groups/<group id>``.
    """

    root: Path

    @property
    def group_id(self) -> str:
        """The group's id, which is the folder's name."""
        return self.root.name

    @property
    def comparison(self) -> Path:
        """The comparison of the runs, with their ids, as JSON."""
        return self.root / "comparison.json"

    @property
    def rounds(self) -> Path:
        """Of a group of rounds: what came of each, as JSON."""
        return self.root / "rounds.json"

    @property
    def regimes(self) -> Path:
        """Of a group of several models: what was found around each, as JSON."""
        return self.root / "regimes.json"

    @property
    def report(self) -> Path:
        """The runs side by side as one page for a browser."""
        return self.root / "report.html"

    @property
    def figures(self) -> Path:
        """Folder of the plots."""
        return self.root / "figures"


def group_of(home: Home, name: str, run_ids: Sequence[str]) -> GroupFolder:
    """Return the folder of a group, which need not exist.

    It depends on the run ids alone: the same runs, made at any time and in any number of calls, are the same group.

    Args:
        home: The home of the runs.
        name: Of the configuration.
        run_ids: One per problem, in the configuration's order; "rounds" before those of rounds, and "regimes" before
            those of several models.
    """
    return GroupFolder(home.root / "groups" / f"{name}-{fingerprint(list(run_ids))[:8]}")


def find_group(home: Home, name: str) -> GroupFolder | None:
    """Return the group with a report that has this id, or the only one whose id begins so; None for none or several."""
    known = sorted({path.parent for path in _results(home)})
    exact = [path for path in known if path.name == name]
    fitting = exact or [path for path in known if path.name.startswith(name)]
    return GroupFolder(fitting[0]) if len(fitting) == 1 else None


def group_with(home: Home, run_id: str) -> GroupFolder | None:
    """Return the last written group with a report that has this run among its own; None where there is none."""
    for path in sorted(_results(home), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        folder = GroupFolder(path.parent)
        with suppress(InputError):  # one of another version
            if run_id in _run_ids(folder, path):
                return folder
    return None


def _results(home: Home) -> list[Path]:
    """Return the results of all groups of a home."""
    kinds = ("comparison", "regimes", "rounds")
    return [path for kind in kinds for path in home.root.glob(f"groups/[!.]*/{kind}.json")]


def _run_ids(folder: GroupFolder, result: Path) -> list[str]:
    if result == folder.regimes:
        return [each.run_id for each in load_regimes(folder).models]
    if result == folder.rounds:
        return [each.run_id for each in load_rounds(folder).rounds]
    return list(load_group(folder).run_ids)


def load_group(folder: GroupFolder) -> Group:
    """Load the comparison of a group.

    Raises:
        InputError: It cannot be read, or was written by another version.
    """
    return _load(Group, folder.comparison)


def load_regimes(folder: GroupFolder) -> Regimes:
    """Load what a group of several models has found.

    Raises:
        InputError: It cannot be read, or was written by another version.
    """
    return _load(Regimes, folder.regimes)


def load_rounds(folder: GroupFolder) -> Rounds:
    """Load what came of a group of rounds.

    Raises:
        InputError: It cannot be read, or was written by another version.
    """
    return _load(Rounds, folder.rounds)


def _load(kind: type[Kept], path: Path) -> Kept:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise InputError(
            f"RUN: {path} cannot be read or does not fit this version; run the group's config again"
        ) from None
