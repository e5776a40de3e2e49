r"""Recognises answers that are words, times or ratios, and what words do in other answers.

A phrase is up to five words that no expression is made of: ``\text{Tuesday}``, ``(B)``, but not ``x`` nor ``pi``.
"""

from __future__ import annotations

import re

from thickets.tasks.verifiers.expressions.notation import WORDS_CLOSE, WORDS_OPEN
from thickets.tasks.verifiers.expressions.tokens import WORDS

QUOTED = re.compile(f"{WORDS_OPEN}([^{WORDS_CLOSE}]*){WORDS_CLOSE}")
OR = re.compile(rf"{WORDS_OPEN}?\s*(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])\s*{WORDS_CLOSE}?", re.IGNORECASE)
_WORD = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"
PHRASE = re.compile(rf"{_WORD}(?: {_WORD}){{0,4}}")
_CLOCK = re.compile(r"\d+(?:\s*:\s*\d+)+")


def phrase(text: str) -> str | None:
    """Return the one form of a few words or of a choice; None if it may be an expression."""
    found = " ".join(QUOTED.sub(r" \1 ", text).replace("’", "'").split()).rstrip(".!")
    if found.startswith("(") and found.endswith(")") and len(found) == 3 and found[1].isalpha():
        return found[1].upper()
    if not PHRASE.fullmatch(found) or OR.search(found):
        return None
    words = found.split()
    form = found.casefold()
    if len(words) == 1 and form not in ("no", "yes"):
        if len(found) == 1 and found.isascii():
            return None  # a variable
        if form in WORDS or (found.isascii() and (len(found) < 3 or not re.search("[eiouEIOU]", found))):
            return None
    elif all(len(word) == 1 for word in words):
        return None
    return form


def clock(text: str) -> str | None:
    """Return the one form of a time or a ratio: 12:30 is no number, and 6:4 is not surely 3:2."""
    return re.sub(r"\s", "", text) if _CLOCK.fullmatch(text) else None
