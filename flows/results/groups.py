"""The groups of a home: the runs of one configuration with several problems or rounds, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from thickets.flows.results.comparison import Group
from thickets.flows.results.rounds import Rounds
from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home


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
        run_ids: One per problem, in the configuration's order; of rounds "rounds" before those of the rounds.
    """
    return GroupFolder(home.root / "groups" / f"{name}-{fingerprint(list(run_ids))[:8]}")


def find_group(home: Home, name: str) -> GroupFolder | None:
    """Return the group with this id, or the only one whose id begins so; None if there is none or there are several."""
    kinds = ("comparison", "rounds")
    known = sorted(path.parent for kind in kinds for path in home.root.glob(f"groups/[!.]*/{kind}.json"))
    exact = [path for path in known if path.name == name]
    found = exact or [path for path in known if path.name.startswith(name)]
    return GroupFolder(found[0]) if len(found) == 1 else None


def load_group(folder: GroupFolder) -> Group:
    """Load the comparison of a group.

    Raises:
        InputError: It cannot be read, or was written by another version.
    """
    try:
        return Group.model_validate_json(folder.comparison.read_bytes())
    except (OSError, ValidationError):
        raise InputError(
            f"RUN: {folder.comparison} cannot be read or does not fit this version; run the group's config again"
        ) from None


def load_rounds(folder: GroupFolder) -> Rounds:
    """Load the result of a group of rounds.

    Raises:
        InputError: It cannot be read, or was written by another version.
    """
    try:
        return Rounds.model_validate_json(folder.rounds.read_bytes())
    except (OSError, ValidationError):
        raise InputError(
            f"RUN: {folder.rounds} cannot be read or does not fit this version; run the rounds' config again"
        ) from None
