"""Reads the options of a generated problem, ``problem.options``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import Option


def with_defaults(name: str, options: Iterable[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every option of a problem with its value.

    Args:
        name: The problem's.
        options: That it takes.
        given: In the config.

    Raises:
        InputError: It takes no such option.
    """
    known = {option.name: option.default for option in options}
    if unknown := sorted(set(given) - set(known)):
        *first, last = known
        taken = f"{', '.join(first)} and {last}" if first else last
        raise InputError(f"problem.options has {unknown[0]!r}; {name} takes {taken}")
    return {**known, **given}


def whole_number(values: Mapping[str, Any], name: str, least: int, most: int | None = None) -> int:
    """Return an option that is a whole number.

    Raises:
        InputError: It is none, or out of range.
    """
    value = values[name]
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or value < least or (most is not None and value > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"problem.options.{name} is {value!r}; it must be a whole number {allowed}")
    return int(value)
