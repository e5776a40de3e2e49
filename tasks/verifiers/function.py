"""A user's own function as verifier: ``problem.verifier: module:function``."""

from __future__ import annotations

from thickets.storage.errors import InputError
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.own_code import SHOWN, described, import_function, in_thousandths, shown, source_hash
from thickets.tasks.verifiers.verifier import Verifier


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
    function = import_function(path, path)

    def call(text: str, example: Example) -> tuple[str | None, int]:
        try:
            result = function(text, example)
        except (Exception, SystemExit) as error:
            raise InputError(
                f"problem.verifier {path} raised {described(error)} for example {example.id}; it must return a pair "
                f"for every text, (None, False) where there is no answer; this text ends {text[-SHOWN:]!r}"
            ) from error
        match result:
            case (None, value) if in_thousandths(value) == 0:
                return None, 0
            case (str() as answer, value) if answer and (score := in_thousandths(value)) is not None:
                return answer, score
        raise InputError(
            f"problem.verifier {path} returned {shown(result)} for example {example.id}; it must return a pair: "
            "the answer found (text, or None with False) and whether it is right (True or False) or its score (a "
            f"number from 0 to 1); this text ends {text[-SHOWN:]!r}"
        )

    def extract(text: str, example: Example) -> str | None:
        found = call(text, example)
        if found[0] is not None and (again := call(found[0], example)) != found:
            raise InputError(
                f"problem.verifier {path} returned {_pair(found)} for example {example.id}, but "
                f"{_pair(again)} for its own answer; it must give the same pair for both; this text ends "
                f"{text[-SHOWN:]!r}"
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
        details={"source_sha256": source_hash(path), "right_at": threshold},
    )


def _pair(found: tuple[str | None, int]) -> str:
    return f"({shown(found[0])}, {found[1] / FULL:g})"
