"""A user's own function as verifier: ``problem.verifier: module:function``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.verifier import Verifier


def function_verifier(path: str) -> Verifier:
    """Make a verifier of a user's own ``function(text, example) -> (answer, correct)``.

    ``text`` is a whole completion. ``answer`` is the answer found in it, or ``None``; it is the vote, so answers of the
    same meaning must be the same string. ``correct`` is the verdict. Called with its own ``answer`` as the text, the
    function must return the same pair again: votes are judged after they are counted.
    Columns of the data other than id, question and answer are in ``example.metadata``.
    """
    function = _import(path)

    def call(text: str, example: Example) -> tuple[str | None, bool]:
        result = function(text, example)
        match result:
            case (None, False):
                return None, False
            case (str() as answer, bool() as correct) if answer:
                return answer, correct
        raise InputError(
            f"problem.verifier {path} returned {result!r} for example {example.id}; it must return a pair: the answer "
            "found (text, or None with False) and whether it is right (True or False)"
        )

    def extract(text: str, example: Example) -> str | None:
        found = call(text, example)
        if found[0] is not None and (again := call(found[0], example)) != found:
            raise InputError(
                f"problem.verifier {path} returned {found!r} for example {example.id}, but {again!r} for its own "
                f"answer {found[0]!r}; it must give the same pair for both"
            )
        return found[0]

    def gold(example: Example) -> str | None:
        answer, correct = call(example.answer, example)
        return answer if correct else None

    return Verifier(
        name=path,
        instruction="{question}",
        max_tokens=256,
        extract=extract,
        gold=gold,
        gold_rule=f"{path} must find it right",
        judge=lambda answer, example: FULL * call(answer, example)[1],
        details={"source_sha256": _source_hash(function)},
    )


def _import(path: str) -> Callable[[str, Example], Any]:
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise InputError(
            f"problem.verifier is {path!r}, but module {module_name} cannot be imported ({error}); install it or put "
            "its folder on PYTHONPATH"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        found = [key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")]
        raise InputError(
            f"problem.verifier is {path!r}, but module {module_name} has no function {name}; "
            f"it has {', '.join(found) or 'none'}"
        )
    return function


def _source_hash(function: Callable[..., Any]) -> str | None:
    """Hash the file a function is written in (``None`` if none): a changed verifier is another problem."""
    try:
        source = inspect.getsourcefile(function)
    except TypeError:
        return None
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source and Path(source).is_file() else None
