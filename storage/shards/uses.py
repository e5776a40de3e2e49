"""Which answers and verdicts the runs of a home use: nothing is removed that one of them names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import Home, RunFolder
from thickets.storage.shards.file import verdicts_name

Uses = Mapping[str, frozenset[str] | None]
"""Names of shard folders, each with the names of the folders of verdicts in it; None: perhaps all of them."""


def record_other_answers(folder: RunFolder, answers: str, verdicts: str) -> None:
    """Record that a run uses answers besides its own: those of a learned limit, a training split or a student.

    Args:
        folder: The run, whose lock the caller holds.
        answers: Their fingerprint.
        verdicts: The fingerprint of the judgement on them.
    """
    line, known = f"{answers} {verdicts}", _other_answers(folder)
    if line not in known:
        write_text_atomically(folder.other_answers, "".join(f"{each}\n" for each in (*known, line)))


def uses_of(home: Home, folder: RunFolder) -> Uses:
    """Return what a run uses; nothing if it has not recorded its fingerprint yet.

    Raises:
        InputError: What the folder records is damaged, so that nobody knows.
    """
    found: dict[str, frozenset[str] | None] = {}
    try:
        if folder.fingerprint.is_file():
            name = home.shards(folder.fingerprint.read_text(encoding="ascii").strip()).name
            found[name] = _own_verdicts(folder)
        for line in _other_answers(folder):
            answers, verdicts = line.split()
            name = home.shards(answers).name
            known = found.get(name, frozenset())
            found[name] = None if known is None else known | {verdicts_name(verdicts)}
    except (ValueError, InputError) as error:
        raise InputError(f"{folder.root}: cannot tell which shards this run uses: {error}") from None
    return found


def runs_of(home: Home) -> list[RunFolder]:
    """Return the folder of every run that has recorded anything, refused and interrupted ones too, by id."""
    marks = ("config.yaml", "fingerprint", "other-answers")
    paths = [path for path in sorted(home.runs.glob("*")) if not path.name.startswith(".")]
    return [RunFolder(path) for path in paths if any((path / mark).is_file() for mark in marks)]


def merged(uses: Iterable[Uses]) -> Uses:
    """Return what is used by any of several runs."""
    found: dict[str, frozenset[str] | None] = {}
    for each in uses:
        for name, verdicts in each.items():
            known = found.get(name, frozenset())
            found[name] = None if known is None or verdicts is None else known | verdicts
    return found


def _own_verdicts(folder: RunFolder) -> frozenset[str] | None:
    try:
        judgement = json.loads(folder.judgement.read_text(encoding="utf-8"))
        return frozenset({verdicts_name(fingerprint(judgement))})
    except (OSError, ValueError):
        return None


def _other_answers(folder: RunFolder) -> list[str]:
    return folder.other_answers.read_text(encoding="ascii").splitlines() if folder.other_answers.is_file() else []
