"""A run's own config.yaml, read where it lies: its home is the one around it, and its paths lead from where it began.

A home can be moved, alone or with the data beside it, and a run done again from any folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from thickets.storage.files import write_text_atomically
from thickets.storage.home import RunFolder

_HUB = "hf:"
_DATA = ("path", "test_path", "examples")


def record_start(folder: RunFolder) -> None:
    """Record the folder that relative paths in a run's configuration lead from: as it is, and as seen from the home."""
    home, here = _home_around(folder), Path.cwd()
    text = f"{here}\n{os.path.relpath(here, home)}\n"
    if not folder.started_in.is_file() or folder.started_in.read_text(encoding="utf-8") != text:
        write_text_atomically(folder.started_in, text)


def follow(path: Path, values: dict[str, Any]) -> None:
    """Change the plain values of a configuration if the file is a run's own; leave those of any other as they are.

    Args:
        path: Where the values were read.
        values: Changed in place: ``storage.home`` is where the run lies, and a relative path of data or of a model
            becomes an absolute one. Data that are nowhere are named where they should be. A model that lay in the home
            (the one that a round has made) is the one in the home as it is now.
    """
    folder = RunFolder(Path(os.path.abspath(path)).parent)
    if not _is_own(folder, path):
        return
    home, storage = _home_around(folder), values.setdefault("storage", {})
    if isinstance(storage, dict) and (model := _moved(values.get("model"), storage.get("home"), home)) is not None:
        values["model"] = model
    if isinstance(storage, dict) and not _is_same(storage.get("home"), home):
        storage["home"] = str(home)
    starts = _starts(folder)
    if not starts:
        return
    if (model := _found(values.get("model"), starts)) is not None:
        values["model"] = model
    problem = values.get("problem")
    if isinstance(problem, dict):
        for name in _DATA:
            value = problem.get(name)
            if (there := _found(value, starts)) is not None:
                problem[name] = there
            elif _is_relative(value) and not value.startswith(_HUB):
                problem[name] = str(starts[-1] / value)


def _is_own(folder: RunFolder, path: Path) -> bool:
    marks = (folder.fingerprint, folder.lock, folder.summary)
    return path.name == folder.config.name and folder.root.parent.name == "runs" and any(map(Path.is_file, marks))


def _home_around(folder: RunFolder) -> Path:
    return Path(os.path.abspath(folder.root)).parents[1]


def _is_same(stored: Any, home: Path) -> bool:
    return isinstance(stored, str) and Path(stored).expanduser().resolve() == home.resolve()


def _moved(model: Any, then: Any, now: Path) -> str | None:
    """Return where a model that lay in the home is now; None of any other model.

    Args:
        model: As the configuration names it.
        then: The home, as the same configuration names it.
        now: The home.
    """
    if not (isinstance(model, str) and isinstance(then, str) and Path(model).is_relative_to(then)):
        return None
    there = now / Path(model).relative_to(then)
    return str(there) if there.is_dir() else None


def _starts(folder: RunFolder) -> list[Path]:
    """Return the folders that relative paths may lead from: the one beside the home, which may have moved, first."""
    try:
        absolute, beside = folder.started_in.read_text(encoding="utf-8").splitlines()[:2]
    except (OSError, ValueError):  # a run of an earlier version has no such file
        return []
    return [Path(os.path.normpath(_home_around(folder) / beside)), Path(absolute)]


def _found(value: Any, starts: Sequence[Path]) -> str | None:
    """Return an absolute path for a relative one that leads somewhere, else None."""
    if not _is_relative(value):
        return None
    prefix = _HUB if value.startswith(_HUB) else ""
    there = (start / value.removeprefix(prefix) for start in starts)
    return next((prefix + str(path) for path in there if path.exists()), None)


def _is_relative(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != "" and not Path(value.removeprefix(_HUB)).expanduser().is_absolute()
