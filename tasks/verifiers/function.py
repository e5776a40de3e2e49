"""A user's own function as verifier: ``problem.verifier: module:function``."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.sources import source_sha256
from thickets.tasks.verifiers.verifier import Verifier

_SHOWN = 60  # characters of a text or a value in a message


def function_verifier(path: str, right_at: float = 1.0) -> Verifier:
    """Make a verifier of a user's own ``function(text, example) -> (answer, correct or score)``.

    ``text`` is a whole completion. ``answer`` is the answer found in it, or ``None``; it is the vote, so answers of the
    same meaning must be the same string. With it comes whether it is right (a bool), or how good it is, from 0 to 1.
    Called with its own ``answer`` as the text, the function must return the same pair again: votes are judged after
    they are counted. Columns of the data other than id, question and answer are in ``example.metadata``.

    Args:
        path: ``module:function``.
        right_at: The score, from 0 to 1, from which on an answer is right.

    Raises:
        InputError: The function cannot be imported. What it does wrong later is one too, since it would do it again.
    """
    function = _import(path)

    def call(text: str, example: Example) -> tuple[str | None, int]:
        try:
            result = function(text, example)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"problem.verifier {path} raised {_described(error)} for example {example.id}; it must return a pair "
                f"for every text, (None, False) where there is no answer; this text ends {text[-_SHOWN:]!r}"
            ) from error
        match result:
            case (None, value) if _score(value) == 0:
                return None, 0
            case (str() as answer, value) if answer and (score := _score(value)) is not None:
                return answer, score
        raise InputError(
            f"problem.verifier {path} returned {_shown(result)} for example {example.id}; it must return a pair: "
            "the answer found (text, or None with False) and whether it is right (True or False) or its score (a "
            f"number from 0 to 1); this text ends {text[-_SHOWN:]!r}"
        )

    def extract(text: str, example: Example) -> str | None:
        found = call(text, example)
        if found[0] is not None and (again := call(found[0], example)) != found:
            raise InputError(
                f"problem.verifier {path} returned {_pair(found)} for example {example.id}, but "
                f"{_pair(again)} for its own answer; it must give the same pair for both; this text ends "
                f"{text[-_SHOWN:]!r}"
            )
        return found[0]

    def gold(example: Example) -> str | None:
        answer, score = call(example.answer, example)
        return answer if score >= threshold else None

    threshold = round(FULL * right_at)
    return Verifier(
        name=path,
        instruction="{question}",
        max_tokens=256,
        extract=extract,
        gold=gold,
        gold_rule=f"{path} must find it right",
        judge=lambda answer, example: call(answer, example)[1],
        right_at=threshold,
        uses_columns=True,
        details={"source_sha256": _source_hash(path, function), "right_at": threshold},
    )


def _score(value: object) -> int | None:
    """Return a verdict in thousandths; ``None`` if it is no verdict."""
    if isinstance(value, bool):
        return FULL * value
    try:
        if isinstance(value, str | bytes) or not 0 <= value <= 1:  # type: ignore[operator]
            return None
        # Rounded down, so that nothing short of full marks is full marks; less the rounding of floats (0.57 * 1000).
        return math.floor(FULL * float(value) + 1e-6)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no number, or an array of them
        return None


def _described(error: BaseException) -> str:
    """Name an error on one line, with the place in the user's code."""
    place, frame = "", error.__traceback__
    while frame is not None:
        place = f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
        frame = frame.tb_next
    try:
        words = " ".join(str(error).split())[: 2 * _SHOWN]
    except Exception:
        words = ""
    return f"{type(error).__name__}{': ' if words else ''}{words}{place}"


def _shown(value: object) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."


def _pair(found: tuple[str | None, int]) -> str:
    return f"({_shown(found[0])}, {found[1] / FULL:g})"


def _import(path: str) -> Callable[[str, Example], Any]:
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"problem.verifier is {path!r}, but module {module_name} cannot be imported ({_described(error)}); install "
            "it or put its folder on PYTHONPATH"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        found = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise InputError(
            f"problem.verifier is {path!r}, but module {module_name} has no function {name}; "
            f"it has {', '.join(found) or 'none'}"
        )
    return function


def _source_hash(path: str, function: Callable[..., Any]) -> str | None:
    """Hash the module that the config names and what it imports from its folder; ``None`` if it has no source."""
    module = importlib.import_module(path.partition(":")[0])
    try:
        source = inspect.getsourcefile(module)
    except TypeError:
        return None
    return source_sha256(module.__name__, Path(source)) if source and Path(source).is_file() else None
