r"""The number that a reply marks as its answer, else its last number, by value."""

from __future__ import annotations

import re
from functools import lru_cache

from thickets.tasks.types import Example
from thickets.tasks.verifiers.marks import Mark, find_mark
from thickets.tasks.verifiers.numbers import Number, find_numbers
from thickets.tasks.verifiers.verifier import Verifier, gold_of_all

_DIGIT = re.compile(r"[\d¼-¾⅐-⅞]")
_WINDOW, _LARGEST_WINDOW, _AHEAD = 120, 4_000, 200
_MARK_TEXT = 2_000
_SHORT = 500
# Words that may stand between "the answer is" and its number.
_FILLER = re.compile(
    r"about|approx(?:imately)?|around|roughly|exactly|simply|just|therefore|thus|hence|so|then|equals?|to|an?|the|total|of"
    r"|number|value|final|result|answer|is|it|that|ist|also|etwa|circa|environ|est|usd|eur|gbp|rs|inr",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<!\\)(?<![^\W\d_])[^\W\d_]{2,}")
_SENTENCE_END = re.compile(r"[.!?。！？](?=\s|$)|\n")
_ASKED = re.compile(r"[^.!?\n]{0,100}\?")
_OF_A_LIST = re.compile(r"[.)][ \t]+[*_]{0,2}[^\W\d_]")
# Accounts write -5 as (5) or 5-, and 5! is 120.
_UNSURE_GOLD = re.compile(r"\s*\(\s*[^\s\w]{0,2}\d[\d.,]*\s*\)\s*|.*[-–−!]\s*", re.DOTALL)


def numeric_answer(text: str) -> str | None:
    """Return the canonical number that a reply gives as its answer, or ``None``.

    The number of the surest mark; where a mark holds no number that can be read, there is no answer. Without a mark it
    is the last number of the reply, if that can be read, is not asked about ("Is it 5?") and does not count the items
    of a list.
    """
    found = _find(text)
    return None if found is None else found.value


def whole_number_text(text: str) -> str | None:
    """Return the one number that a short text holds, in canonical form, or ``None`` if it is not surely one."""
    found = _only(text)
    return None if found is None else found.value


@lru_cache(maxsize=16_384)
def gold_number(text: str) -> str | None:
    """Return the number of a gold answer in canonical form, ``None`` if it does not surely hold exactly one."""
    if len(text) > _LARGEST_WINDOW:
        return numeric_answer(text) if find_mark(text) else None
    if (mark := find_mark(text)) is not None:
        found = _in_mark(text, mark)
        return None if found is None else found.value
    return None if _UNSURE_GOLD.fullmatch(text) else whole_number_text(text)


def _find(text: str) -> Number | None:
    return _found_in_short(text) if len(text) <= _SHORT else _found(text)


def _found(text: str) -> Number | None:
    mark = find_mark(text)
    return _last(text) if mark is None else _in_mark(text, mark)


# Thousands of candidates give the same short replies to one question.
_found_in_short = lru_cache(maxsize=16_384)(_found)


def _in_mark(text: str, mark: Mark) -> Number | None:
    content = text[mark.start : min(mark.end, mark.start + _MARK_TEXT)]
    found = _only(content) if mark.kind == "box" else _first(content)
    if found is None:
        return None
    return Number(found.start + mark.start, found.end + mark.start, found.value)


def _only(text: str) -> Number | None:
    """Return the number of a text that holds one, or an equation."""
    numbers = find_numbers(text)
    last = _equal(numbers) if all(number.equals for number in numbers[1:]) else None
    if last is None:
        return None
    outside = text[: numbers[0].start] + text[last.end :]
    if any(sign.isnumeric() for sign in outside) or text[last.end :].lstrip().startswith("!"):
        return None
    return last


def _equal(numbers: list[Number]) -> Number | None:
    """Return what an equation comes to; two values that differ ("1.5 hours = 90 minutes") do not tell."""
    values = {number.value for number in numbers[:-1]} - {None}
    return numbers[-1] if numbers and values <= {numbers[-1].value} else None


def _first(text: str) -> Number | None:
    """Return the number that a text starts with; after other words, the only one of the sentence."""
    numbers = find_numbers(text)
    if not numbers:
        return None
    groups = [[numbers[0]]]
    for number in numbers[1:]:
        if number.equals:
            groups[-1].append(number)
        else:
            groups.append([number])
    answer = _equal(groups[0])
    if answer is None:
        return None
    sentence = _SENTENCE_END.search(text, answer.end)
    others = [group for group in groups[1:] if sentence is None or group[0].start < sentence.start()]
    if all(_FILLER.fullmatch(word) for word in _WORD.findall(text[: numbers[0].start])):
        # "28 days / 7 days a week = 4 weeks" ends in the answer, and "18, since 3 boxes of 6" does not.
        unclear = [number for group in others for number in group[1:]]
    elif _SENTENCE_END.search(text, 0, numbers[0].start):
        return None
    else:
        unclear = [number for group in others for number in group]
    if any(number.value != answer.value for number in unclear):
        return None
    return answer


def _last(text: str) -> Number | None:
    """Return the last number of a reply without a mark."""
    at = _last_digit(text)
    if at is None:
        return None
    line = text.rfind("\n", max(0, at - _LARGEST_WINDOW), at) + 1 or max(0, at - _LARGEST_WINDOW)
    end = text.find("\n", at, at + _AHEAD)
    end = min(len(text), at + _AHEAD) if end < 0 else end
    window = _WINDOW
    while True:
        start = max(line, at - window)
        numbers = find_numbers(text, start, end)
        # More may be joined to it than the window shows.
        if start == line or (numbers and numbers[-1].start > start + _WINDOW // 2) or window > _LARGEST_WINDOW:
            break
        window *= 4
    last = numbers[-1] if numbers else None
    if last is None or last.value is None or _ASKED.match(text, last.end) or _counts_items(text, last):
        return None
    if at - last.start >= _LARGEST_WINDOW - _WINDOW:
        return None  # longer than what was read of it
    return last


def _last_digit(text: str) -> int | None:
    end, size = len(text), 500
    while end > 0:
        start = max(0, end - size)
        if found := [match.start() for match in _DIGIT.finditer(text, start, end)]:
            return found[-1]
        end, size = start, 4 * size
    return None


def _counts_items(text: str, number: Number) -> bool:
    before = text[max(0, number.start - 4) : number.start].rstrip(" \t*")
    return before.endswith("\n") and _OF_A_LIST.match(text, number.end) is not None


def _span(text: str, example: Example) -> tuple[int, int] | None:
    found = _find(text)
    return None if found is None or found.value is None else (found.start, found.end)


NUMERIC = Verifier(
    name="numeric",
    instruction="{question}\n\nThink step by step, then give the final number on the last line.",
    max_tokens=256,
    extract=lambda text, _: numeric_answer(text),
    gold=gold_of_all(lambda text, _: gold_number(text)),
    gold_rule="it must hold exactly one number that can be read in one way",
    span=_span,
)
"""The marked number of a reply, else the last one, by value."""
