"""Has the C library keep the memory that a process frees: an engine asks for the same again at the next token.

glibc gives what is freed back to the system, and every page of it has to be zeroed anew when it is asked for again. On
a thread of its own, as an engine has, it does so more often than on the main one (docs/performance.md). What is kept
without use is `_MOST_KEPT` at most.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

_MOST_KEPT = 1 << 29
# By the variable that a starting process reads: the number of the setting in malloc.h, and its value.
_SETTINGS = {
    "MALLOC_ARENA_MAX": (-8, 1),  # all threads share the main one, which alone heeds the next line
    "MALLOC_TRIM_THRESHOLD_": (-1, _MOST_KEPT),
    "MALLOC_MMAP_THRESHOLD_": (-3, 1 << 25),  # the most that it takes; larger pieces are given back all the same
}
_MOST_MAPPED = "MALLOC_MMAP_MAX_", -4, 1 << 16  # how many larger pieces are given back; glibc's own default


def keep_freed_memory() -> None:
    """Set this for the present process, before it has many threads; variables that the user has set win."""
    for name, (number, value) in _SETTINGS.items():
        _set(name, number, value)


@contextmanager
def large_pieces_kept() -> Iterator[None]:
    """Have pieces above 32 MB that are asked for meanwhile lie where freed memory is kept, too, for their successors.

    For pieces that are replaced by one of the same size: anywhere else they would leave holes.
    """
    name, number, default = _MOST_MAPPED
    _set(name, number, 0)
    try:
        yield
    finally:
        _set(name, number, default)


def _set(name: str, number: int, value: int) -> None:
    mallopt = _mallopt()
    if mallopt is not None and name not in os.environ:
        mallopt(number, value)


@lru_cache(maxsize=1)
def _mallopt() -> Callable[[int, int], int] | None:
    """Return glibc's function, or None on other systems."""
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None


def environment_that_keeps_memory() -> dict[str, str]:
    """Return the variables that do the same for a process that is to be started, with the user's values."""
    return {name: os.environ.get(name, str(value)) for name, (_, value) in _SETTINGS.items()}
