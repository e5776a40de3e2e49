"""A word or a short phrase as answer, as to a question about an image: articles and punctuation count nothing."""

from __future__ import annotations

import re
from functools import lru_cache

from thickets.tasks.verifiers.exact import EXACT, exact_answer
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all

_ARTICLES = frozenset(["a", "an", "the"])
_MOST_WORDS = 10
"""More is a sentence about an answer, whatever word of it may be one."""
_LONGEST = 400  # characters
_IN_A_WORD = re.compile(r"(?<=\w)['’](?=\w)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# A point between digits is part of a number; of every other sign only its place remains.
_SIGNS = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.]|_")


def short_answer(text: str) -> str | None:
    """Return a phrase in one form: without case, articles, punctuation and runs of white space.

    It is what a reply marks as its answer, else the whole reply. ``"A traffic-light."`` gives ``"traffic light"``;
    ``"it's"`` gives ``"its"``; ``"1,000"`` gives ``"1000"``.

    Returns:
        None for a reply without words, or with more than ten (or 400 characters).
    """
    phrase = exact_answer(text)
    if phrase is None or len(phrase) > _LONGEST:
        return None
    bare = _SIGNS.sub(" ", _THOUSANDS.sub("", _IN_A_WORD.sub("", phrase)))
    words = bare.split()
    if not words or len(words) > _MOST_WORDS:
        return None
    # A phrase of articles alone is something else, a letter for instance.
    return " ".join([word for word in words if word not in _ARTICLES] or words)


_gold = lru_cache(maxsize=16_384)(short_answer)

SHORT = Verifier(
    name="short",
    instruction="{question}\n\nAnswer with one word or a short phrase.",
    max_tokens=16,
    extract=lambda text, _: short_answer(text),
    gold=gold_of_all(lambda text, _: _gold(text)),
    gold_rule=f"it must be one to {_MOST_WORDS} words",
    span=EXACT.span,
)
