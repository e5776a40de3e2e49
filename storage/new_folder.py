"""A folder that appears whole or not at all: made beside its place under a temporary name, then renamed."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thickets.storage.errors import InputError
from thickets.storage.files import TEMPORARY_SUFFIX, fsync_folder


def check_vacant(target: Path, field: str) -> Path:
    """Return the real path of a folder that is to be made: absent so far, or empty.

    Args:
        target: The folder.
        field: What the user calls it, for the message.

    Raises:
        InputError: Something is there already.
    """
    real = target.expanduser().resolve()
    if real.is_dir():
        found = next(real.iterdir(), None)
        if found is not None:
            raise InputError(f"{field}: {target} is not empty (it holds {found.name}); name a new or an empty folder")
    elif real.exists():
        raise InputError(f"{field}: {target} is a file; name a new or an empty folder")
    return real


@contextmanager
def new_folder(target: Path, field: str) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its name, with all it then holds, when the block ends.

    An error leaves nothing, a kill a stray ``.<name>.*.tmp``; whoever sees `target` sees all of it.

    Raises:
        InputError: `target` is there and is not an empty folder, or its place cannot be written to.
    """
    target = check_vacant(target, field)
    scratch = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{field}: cannot write beside {target}: {error.strerror or error}") from None
    try:
        yield scratch
        _make_durable(scratch)
        # Another process may have filled it meanwhile; a rename replaces nothing but an empty folder.
        check_vacant(target, field)
        scratch.rename(target)
        fsync_folder(target.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _make_durable(folder: Path) -> None:
    for path in folder.rglob("*"):
        fsync_folder(path)
    fsync_folder(folder)
