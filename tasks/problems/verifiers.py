"""Verifiers for the answers of a file: each is an extraction and a comparison, both pure functions."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.problems.base import JSON
from thickets.tasks.problems.choice import choice_letter, named_letters
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.lenient import lenient_match
from thickets.tasks.problems.text import canonical_number, last_number, normalise, numbers
from thickets.tasks.types import Example

# A pattern is the user's own, but the text it runs on is the model's: backtracking is bounded by bounding the text.
# The end of the text is kept, where the last match is.
_REGEX_TEXT = 4_000


@dataclass(frozen=True)
class Verifier:
    """An extraction and a comparison.

    Attributes:
        name: As written in the config.
        instruction: Prompt template that asks for answers of this kind.
        max_tokens: Default length of a completion.
        extract: The canonical answer in a text, which is its vote; ``None`` is an abstention.
        gold: The canonical gold answer of an example; ``None`` if this verifier cannot judge it.
        gold_rule: Condition on a gold answer, for the error message.
        judge: Compares a canonical answer with the gold one; None: they must be the same string.
        named: The answers that a text names, if ``lenient_match`` would not find them.
        details: Other values that change an extraction or a verdict, for the fingerprint.
    """

    name: str
    instruction: str
    max_tokens: int
    extract: Callable[[str, Example], str | None]
    gold: Callable[[Example], str | None]
    gold_rule: str
    judge: Callable[[str, Example], bool] | None = None
    named: Callable[[str], set[str]] | None = None
    details: dict[str, JSON] = field(default_factory=dict)

    def verify(self, answer: str, example: Example) -> bool:
        """Return whether a canonical answer is right."""
        return self.judge(answer, example) if self.judge else answer == self.gold(example)

    def lenient(self, text: str, example: Example) -> bool | None:
        """Return whether a text names the gold answer; ``None`` if it names others too, or there is a `judge`."""
        gold = self.gold(example)
        if self.judge is not None or gold is None:
            return None
        if self.named is None:
            return lenient_match(text, gold, example.question)
        found = self.named(text)
        return (True if found == {gold} else None) if gold in found else False


def make_verifier(config: ProblemConfig) -> Verifier:
    """Return the verifier that a config names.

    Raises:
        InputError: The user's own function cannot be imported.
    """
    match config.verifier:
        case None | "exact":
            return EXACT
        case "numeric":
            return NUMERIC
        case "choice":
            return CHOICE
        case "regex":
            assert config.pattern is not None  # ProblemConfig requires it
            return _regex(config.pattern)
        case function:
            return _function(function)


def _one_number(text: str) -> str | None:
    # "1/2" and "3 or 4" are not one number; taking the last of them would mark wrong answers right.
    found = numbers(text)
    return canonical_number(found[0]) if len(found) == 1 else None


def _one_letter(text: str) -> str | None:
    letter = re.fullmatch(r"\s*\(?([A-Ea-e])\)?[.:)]?\s*", text)
    return letter[1].upper() if letter else None


EXACT = Verifier(
    name="exact",
    instruction="{question}\n\nReply with just the answer.",
    max_tokens=64,
    extract=lambda text, _: normalise(text),
    gold=lambda example: normalise(example.answer),
    gold_rule="it must hold more than punctuation",
)
"""The whole reply, but for case, white space and punctuation at the end."""

NUMERIC = Verifier(
    name="numeric",
    instruction="{question}\n\nThink step by step, then give the final number on the last line.",
    max_tokens=256,
    extract=lambda text, _: last_number(text),
    gold=lambda example: _one_number(example.answer),
    gold_rule="it must hold exactly one number",
)
"""The last number of the reply, by value."""

CHOICE = Verifier(
    name="choice",
    instruction="{question}\n\nReply with just the letter.",
    max_tokens=64,
    extract=lambda text, _: choice_letter(text),
    gold=lambda example: _one_letter(example.answer),
    gold_rule="it must be a letter from A to E",
    named=named_letters,
)
"""A letter from A to E."""


def _regex(pattern: str) -> Verifier:
    compiled = re.compile(pattern)

    def search(text: str) -> str | None:
        found = list(compiled.finditer(text[-_REGEX_TEXT:]))
        return normalise(found[-1][compiled.groups] or "") if found else None

    def gold(example: Example) -> str | None:
        # Data may hold the bare answer ("42") or the form that is asked for ("Answer: 42").
        return search(example.answer) or normalise(example.answer)

    return Verifier(
        name="regex",
        instruction="{question}",
        max_tokens=256,
        extract=lambda text, _: search(text),
        gold=gold,
        gold_rule="it must hold more than punctuation",
        details={"pattern": pattern},
    )


def _function(path: str) -> Verifier:
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
        judge=lambda answer, example: call(answer, example)[1],
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
