"""Reads many files through fsspec, side by side where the file system can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import has_magic
from typing import Any

# Bounds what is in memory at a time.
_AT_ONCE = 64


def fetch(filesystem: Any, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file; one that is gone by now is left out.

    Object stores are asked for dozens of files at a time, which costs little more than one; SFTP and others, which
    fsspec calls from one thread, get one request after another.

    Raises:
        Exception: What the file system raised for a file that it cannot read.
    """
    # Several paths are taken for patterns by fsspec: a "[" in the name of a folder would hide its files.
    for path in filter(has_magic, paths):
        try:
            yield path, filesystem.cat_file(path)
        except FileNotFoundError:
            continue
    plain = [path for path in paths if not has_magic(path)]
    for start in range(0, len(plain), _AT_ONCE):
        for path, content in filesystem.cat(plain[start : start + _AT_ONCE], on_error="return").items():
            if isinstance(content, FileNotFoundError):
                continue
            if isinstance(content, BaseException):
                raise content
            yield str(path), content
