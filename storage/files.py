"""Files and folders that appear whole or not at all, and the errors of a full disk.

Each is written under a temporary name in the same folder, flushed to the disk (fsync) and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from thickets.storage.errors import InputError

TEMPORARY_SUFFIX = ".tmp"
# SMB shares and some FUSE file systems cannot open a folder, or flush one.
_NO_FSYNC_OF_FOLDERS = frozenset(
    {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EBADF, errno.EISDIR}
)
_DISK_FULL_WORDS = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "database or disk is full")


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``, and rename the file written there to ``target`` when the block ends.

    A kill at any moment leaves the old file or the new one, never a part; a stray ``.<name>.*.tmp`` may remain.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        yield temporary
        _fsync(temporary)
        os.replace(temporary, target)
        _fsync(target.parent)  # so that the rename survives a power cut
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(target: Path, text: str) -> None:
    """Write a UTF-8 text file that appears whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def move(source: Path, target: Path) -> None:
    """Move a file or a folder, also to another disk: it is copied whole and compared before the original goes.

    Args:
        source: What is moved; a link is moved as a link.
        target: Its new path, which is vacant; its folder is created if absent.

    Raises:
        OSError: It cannot be moved; the original is untouched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    is_folder = source.is_dir() and not source.is_symlink()
    copy = temporary_beside(target)
    try:
        if is_folder:
            shutil.copytree(source, copy, symlinks=True)
            _fsync_tree(copy)
        else:
            shutil.copy2(source, copy, follow_symlinks=False)
            if not source.is_symlink():
                _fsync(copy)
        if _content(copy) != _content(source):
            raise OSError(errno.EIO, f"the copy of {source} on the disk of {target.parent} differs from it")
        copy.rename(target)
        _fsync(target.parent)
    finally:
        _remove(copy)
    _remove(source)


def check_vacant(target: Path, field: str) -> Path:
    """Return the real path of a folder that can be made: it is absent or empty.

    Args:
        target: The folder.
        field: Name of the option or config field, for the message.

    Raises:
        InputError: `target` is a file, or a folder that is not empty.
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
    """Yield an empty folder beside `target`, and rename it to `target` when the block ends.

    An error leaves nothing, a kill a stray ``.<name>.*.tmp``; `target` is never there in part.

    Raises:
        InputError: `target` is a file or is not empty, or its parent folder cannot be written to.
    """
    target = check_vacant(target, field)
    scratch = temporary_beside(target)
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{field}: cannot write beside {target}: {error.strerror or error}") from None
    try:
        yield scratch
        _fsync_tree(scratch)
        # Another process may have filled it meanwhile; a rename replaces nothing but an empty folder.
        check_vacant(target, field)
        scratch.rename(target)
        _fsync(target.parent)  # so that the rename survives a power cut
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_can_write(folder: Path) -> None:
    """Prove that files can be written to a folder, or beside where it would be made; make nothing that stays.

    Raises:
        OSError: They cannot.
        ValueError: No folder can have such a name.
    """
    existing = folder
    while True:
        try:
            existing.stat()
            break
        except FileNotFoundError:
            if existing.is_symlink():  # leads nowhere; nothing can be made in its place
                raise
            existing = existing.parent
    probe = existing / f".write-check-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        probe.write_bytes(b"")
    finally:
        probe.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an exception, or one it was raised from, reports a full disk or a used-up quota.

    Polars, DuckDB and SQLite raise exceptions of their own, with or without the operating system's words.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error) for words in _DISK_FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def temporary_beside(target: Path) -> Path:
    """Return a new name beside a path, which `thickets clean` takes for that of a killed writer."""
    return target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"


def _fsync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            _fsync(path)
    _fsync(folder)


def _fsync(path: Path) -> None:
    """Flush a file or a folder to the disk; a file system that cannot do that with folders is taken as it is."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC_OF_FOLDERS or not path.is_dir():
            raise


def _content(path: Path) -> dict[str, str]:
    """Return what each file and link of a folder holds, or the one at `path`, by its path inside the folder."""
    parts = sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]
    return {str(part.relative_to(path)): _content_of_one(part) for part in parts}


def _content_of_one(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
