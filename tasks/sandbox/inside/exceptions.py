"""Exceptions as a name and a message: how one crosses between a program and its tests."""

from __future__ import annotations

import builtins


class ProgramError(Exception):
    """An exception of the other side's own making."""


def form_of(error: BaseException) -> list[str]:
    """Return name and message of an exception."""
    return [type(error).__name__[:100], str(error)[:500]]


def exception(name: str, message: str) -> Exception:
    """Return an exception of Python's own with that name, else a `ProgramError`."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:
            pass  # such as UnicodeDecodeError, which wants five arguments
    return ProgramError(f"{name}: {message}")
