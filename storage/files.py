"""Files that appear whole or not at all: temporary name in the same folder, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thickets.storage.errors import InputError

TEMPORARY_SUFFIX = ".tmp"
_DISK_FULL_WORDS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; what is written there takes the target's name when the block ends.

    A kill at any moment leaves either the old file, the new one, or a stray ``.<name>.*.tmp``, never a part.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
    try:
        yield temporary
        _fsync(temporary)
        os.replace(temporary, target)
        fsync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(target: Path, text: str) -> None:
    """Write a UTF-8 text file that appears whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an exception, or what it was raised from, is about a disk without room (or a quota used up).

    Polars, DuckDB and SQLite raise exceptions of their own, and quote the operating system or not.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error) for words in _DISK_FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def fsync_folder(folder: Path) -> None:
    """Make the folder's entries (a rename, say) survive a power cut."""
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
