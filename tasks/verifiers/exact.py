r"""The whole reply as answer, or what it marks as its answer."""

from __future__ import annotations

from functools import lru_cache

from thickets.tasks.types import Example
from thickets.tasks.verifiers.marks import Mark, find_mark
from thickets.tasks.verifiers.phrases import normalise
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all


def exact_answer(text: str) -> str | None:
    """Return the phrase that a reply marks as its answer, else the whole reply, in one form; ``None`` if it is empty.

    A mark that holds nothing is an abstention.
    """
    mark = find_mark(text)
    return normalise(text if mark is None else text[mark.start : mark.end])


_gold = lru_cache(maxsize=16_384)(exact_answer)


def _span(text: str, example: Example) -> tuple[int, int] | None:
    if exact_answer(text) is None:
        return None
    mark = find_mark(text) or Mark("phrase", 0, len(text))
    content = text[mark.start : mark.end]
    start = mark.start + len(content) - len(content.lstrip())
    return start, start + len(content.strip())


EXACT = Verifier(
    name="exact",
    instruction="{question}\n\nReply with just the answer.",
    max_tokens=64,
    extract=lambda text, _: exact_answer(text),
    gold=gold_of_all(lambda text, _: _gold(text)),
    gold_rule="it must hold more than punctuation",
    span=_span,
)
"""The marked answer or the whole reply, but for case, white space, quotes, markup and punctuation at the end."""
