"""The letter a multiple-choice reply settles on."""

from __future__ import annotations

import re

# "answer is (B)", "Answer: **b**)": a small letter counts only in brackets, since "the answer is a train" is an article.
_MARKED = re.compile(
    r"answer(?:\s+is)?\s*[:=]?\s*(?:option|choice)?[\s*]*(?:\(([A-Ea-e])\)|([A-E])(?![A-Za-z0-9'’]))",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[\s*]*\(?([A-Ea-e])\)?[\s*]*[.):]?[\s*]*")
# "B. Paris", "(B) Paris", "B) Paris", "**B** Paris" at the start; "A train leaves" has no mark after the letter.
_LEADING = re.compile(r"[\s*]*(?:\(([A-E])\)|([A-E])(?:[.):]|\*\*)(?![A-Za-z]))")
_BOXED = re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*\(?([A-E])\)?\s*\}")
_BRACKETED = re.compile(r"\(([A-E])\)")
# A capital A before a word in small letters is read as the article.
_STANDING = re.compile(r"(?<![A-Za-z0-9'’])(?:([B-E])(?![A-Za-z0-9'’])|(A)(?![A-Za-z0-9'’]|\s+[a-z]))")


def choice_letter(text: str) -> str | None:
    """A letter from A to E, or ``None``.

    From the surest sign to the weakest: the last "answer is B"; a reply that is or starts with the letter ("B", "(B)",
    "B. Paris"); the last boxed letter; the last bracketed one; the last that stands alone. The last, because a model
    weighs the options before it settles; the article "A" of "A train leaves" is no answer.
    """
    if alone := _ALONE.fullmatch(text):
        return alone[1].upper()
    for pattern in (_MARKED, _LEADING, _BOXED, _BRACKETED, _STANDING):
        if pattern is _LEADING:
            found = [match] if (match := _LEADING.match(text)) else []
        else:
            found = list(pattern.finditer(text))
        # The marker ignores case for the words around the letter; the bare letter itself must be a capital.
        letters = [letter for match in found if (letter := match[match.lastindex or 0]) and _is_letter(match, letter)]
        if letters:
            return letters[-1].upper()
    return None


def _is_letter(match: re.Match[str], letter: str) -> bool:
    return letter.isupper() or match.lastindex == 1
