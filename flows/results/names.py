"""What people call runs, beside their ids: a name can change, and the id, which everything else knows, cannot."""

from __future__ import annotations

import re

from thickets.storage.errors import InputError
from thickets.storage.files import write_text_atomically
from thickets.storage.home import Home, RunFolder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def called(folder: RunFolder) -> str | None:
    """Return what people call a run; None if they call it by its id."""
    return folder.called.read_text(encoding="ascii").strip() if folder.called.is_file() else None


def run_called(home: Home, name: str) -> str | None:
    """Return the id of the run that people call so; None if there is none."""
    found = (
        path.parent.name for path in sorted(home.runs.glob("[!.]*/called")) if called(RunFolder(path.parent)) == name
    )
    return next(found, None)


def rename(home: Home, folder: RunFolder, name: str) -> None:
    """Have people call a run by another name; by its own id again if the name is that id.

    The id stays: MLflow, Prefect, databases and distillations name the run by it, and its configuration leads to it.

    Raises:
        InputError: The name cannot be used, or leads to another run already.
    """
    if name == folder.run_id:
        folder.called.unlink(missing_ok=True)
        return
    if not _NAME.fullmatch(name) or name == "latest":
        raise InputError(
            f"NAME: {name!r} cannot be used; use 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter or "
            "digit, and not latest"
        )
    taken = run_called(home, name) or next(
        (path.name for path in sorted(home.runs.glob("[!.]*")) if path.name.startswith(name)), None
    )
    if taken not in (None, folder.run_id):
        raise InputError(f"NAME: {name!r} leads to {taken} already")
    write_text_atomically(folder.called, f"{name}\n")
