"""The last match of a pattern of the user's."""

from __future__ import annotations

import logging

import regex

from thickets.tasks.types import Example
from thickets.tasks.verifiers.text import normalise
from thickets.tasks.verifiers.verifier import Verifier

log = logging.getLogger("thickets")

# The end of the text is kept, where the last match is.
_REGEX_TEXT = 4_000
_LIMIT_S = 0.25  # of processor time

PatternError = regex.error


def regex_verifier(pattern: str) -> Verifier:
    """Make a verifier of a pattern; its last match is the answer: group 1 if it has a group, else the whole match.

    A pattern is the user's own, but the text it runs on is the model's: a search that takes longer than a quarter
    of a second, as ``(a+)+$`` would on most texts, is an abstention.
    """
    compiled = compile_pattern(pattern)

    def search(text: str) -> str | None:
        end = text[-_REGEX_TEXT:]
        last = None
        try:
            # Without the lock on the interpreter: the other threads of the engine go on.
            for last in compiled.finditer(end, timeout=_LIMIT_S, concurrent=True):  # noqa: B007
                pass
        except TimeoutError:
            log.warning(
                "regex: problem.pattern %r took more than %g s for %r; it counts as not read",
                *(pattern, _LIMIT_S, end[-60:]),
            )
            return None
        return normalise(last[compiled.groups] or "") if last else None

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


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern with the engine that runs it, which has a time limit.

    Raises:
        PatternError: It is no regular expression.
    """
    return regex.compile(pattern, regex.VERSION0)
