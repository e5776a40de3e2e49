"""Finds the letter that answers a multiple-choice question in a reply."""

from __future__ import annotations

import re

from thickets.tasks.verifiers.verifier import Verifier

# From the surest sign to the weakest. A letter is a capital, unless it is the whole reply or stands in brackets: "the
# answer is a train" holds an article.
_NO_WORD = r"(?![A-Za-z0-9'’])"
_ALONE = re.compile(r"[\s*]*\(?([A-Ea-e])\)?[.):]?[\s*]*")
_MARKED = re.compile(
    rf"(?i:answer(?:\s+is)?\s*[:=]?\s*(?:option|choice)?)[\s*]*(?:\((?P<any>[A-Ea-e])\)|(?P<capital>[A-E]){_NO_WORD})"
)
# "(A) is wrong" speaks about an option and does not choose it.
_LEADING = re.compile(
    r"[\s*]*(?:\((?P<any>[A-Ea-e])\)|(?P<capital>[A-E])(?:[.):]|\*\*)(?![A-Za-z]))"
    r"(?!\s+(?:is|are|was|were|can|cannot|could|would|seems|looks)\b)"
)
_BOXED = re.compile(r"\\boxed\{\s*(?:\\text\{)?\s*\(?(?P<any>[A-Ea-e])\)?\s*\}")
_BRACKETED = re.compile(r"\((?P<any>[A-E])\)")
# A capital A before a word in small letters is the article of "A train leaves".
_STANDING = re.compile(rf"(?<![A-Za-z0-9'’])(?:(?P<any>[B-E]){_NO_WORD}|(?P<capital>A){_NO_WORD}(?!\s+[a-z]))")


def choice_letter(text: str) -> str | None:
    """Return the letter from A to E that a reply chooses, or ``None``.

    In this order: a reply that is the letter; the last "answer is B"; a reply that starts with the letter ("(B)",
    "B. Paris"); the last boxed letter; the last bracketed one; the last capital that stands alone. The last, because a
    model weighs the options before it settles. The article of "A train leaves" is no answer.
    """
    if alone := _ALONE.fullmatch(text):
        return alone[1].upper()
    if marked := list(_MARKED.finditer(text)):
        return _letter(marked[-1])
    if leading := _LEADING.match(text):
        return _letter(leading)
    for pattern in (_BOXED, _BRACKETED, _STANDING):
        if found := list(pattern.finditer(text)):
            return _letter(found[-1])
    return None


def named_letters(text: str) -> set[str]:
    """Return every letter from A to E that a reply names, in any form that ``choice_letter`` knows."""
    patterns = (_MARKED, _LEADING, _BOXED, _BRACKETED, _STANDING)
    found = {_letter(match) for pattern in patterns for match in pattern.finditer(text)}
    alone = _ALONE.fullmatch(text)
    return found | {alone[1].upper()} if alone else found


def _letter(match: re.Match[str]) -> str:
    groups = match.groupdict()
    return str(groups["any"] or groups["capital"]).upper()


def _one_letter(text: str) -> str | None:
    letter = re.fullmatch(r"\s*\(?([A-Ea-e])\)?[.:)]?\s*", text)
    return letter[1].upper() if letter else None


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
