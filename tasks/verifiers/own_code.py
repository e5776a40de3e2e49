"""Imports a user's function, tells on one line what is wrong with it, and hashes its source."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from thickets.storage.errors import InputError
from thickets.tasks.types import FULL
from thickets.tasks.verifiers.sources import source_sha256

Trainer: TypeAlias = Literal["trl", "verl"]
"""Libraries whose reward functions can be verifiers."""

SHOWN = 60
"""Characters of a text or a value in a message."""


def trainer_of(verifier: str | None) -> tuple[Trainer, str] | None:
    """Return the trainer and the ``module:function`` of a verifier, or None if it is not a trainer's."""
    trainer, _, path = (verifier or "").partition(":")
    return next(((each, path) for each in get_args(Trainer) if each == trainer and ":" in path), None)


def import_function(verifier: str, path: str) -> Callable[..., Any]:
    """Return the function that ``module:function`` names.

    Args:
        verifier: `problem.verifier`, for errors.
        path: ``module:function``.

    Raises:
        InputError: The module cannot be imported, or has no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
        function = getattr(module, name, None)  # which a module may load only now
    except (Exception, SystemExit) as error:
        raise InputError(
            f"problem.verifier is {verifier!r}, but module {module_name} cannot be imported ({described(error)}); "
            "install it or put its folder on PYTHONPATH"
        ) from error
    if not callable(function):
        found = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise InputError(
            f"problem.verifier is {verifier!r}, but module {module_name} has no function {name}; "
            f"it has {', '.join(found) or 'none'}"
        )
    return function


def source_hash(path: str) -> str | None:
    """Hash the module of ``module:function`` and what it imports from its folder; ``None`` if it has no source."""
    module = importlib.import_module(path.partition(":")[0])
    try:
        source = inspect.getsourcefile(module)
    except TypeError:
        return None
    return source_sha256(module.__name__, Path(source)) if source and Path(source).is_file() else None


def in_thousandths(value: object) -> int | None:
    """Return a verdict or a score from 0 to 1 in thousandths, rounded down; ``None`` if it is none."""
    if isinstance(value, bool):
        return FULL * value
    try:
        if isinstance(value, str | bytes) or not 0 <= value <= 1:  # type: ignore[operator]
            return None
        # Rounded down, so that nothing short of full marks is full marks; less the rounding of floats (0.57 * 1000).
        return math.floor(FULL * float(value) + 1e-6)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no number, or an array of them
        return None


def described(error: BaseException) -> str:
    """Name an error on one line, with the place in the user's code."""
    place, frame = "", error.__traceback__
    while frame is not None:
        place = f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
        frame = frame.tb_next
    try:
        words = " ".join(str(error).split())[: 2 * SHOWN]
    except Exception:
        words = ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{place}"


def shown(value: object) -> str:
    """Return a value on one line of at most 120 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 2 * SHOWN else f"{text[: 2 * SHOWN]}..."
