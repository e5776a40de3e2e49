"""The last match of a pattern of the user's."""

from __future__ import annotations

import re

from thickets.tasks.types import Example
from thickets.tasks.verifiers.phrases import normalise
from thickets.tasks.verifiers.verifier import Verifier

# A pattern is the user's own, but the text it runs on is the model's: backtracking is bounded by bounding the text.
# The end of the text is kept, where the last match is.
_REGEX_TEXT = 4_000


def regex_verifier(pattern: str) -> Verifier:
    """Make a verifier of a pattern; its last match is the answer: group 1 if it has a group, else the whole match."""
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
