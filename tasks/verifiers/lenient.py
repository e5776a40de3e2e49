"""Finds the right answer in any place and form of a reply, to tell wrong format from wrong reasoning.

A reply without the right answer has not found it. A reply with it may only have the wrong format; a right number among
the steps of a wrong calculation is found too, so the number of wrong formats is an upper bound.
"""

from __future__ import annotations

import re

from thickets.tasks.verifiers.numbers import find_numbers, numeral_values
from thickets.tasks.verifiers.phrases import normalise

# A reply of megabytes is looked at in its end.
_TEXT = 20_000


def lenient_match(text: str, gold: str, question: str) -> bool | None:
    """Return whether a reply names the gold answer.

    Args:
        text: The whole reply.
        gold: The gold answer in the problem's canonical form.
        question: The question. If it names the gold answer itself (a list to choose from, a number of the story), a
            reply that repeats the question names it too, which proves nothing.

    Returns:
        ``None`` if the reply does not tell: it names the gold answer among other things that the question offers.
    """
    text, question = text[-_TEXT:], question[-_TEXT:]
    if not mentions(text, gold):
        return False
    if not mentions(question, gold):
        return True
    number = as_number(gold)
    if number is None or (numeral_values(text) & numeral_values(question)) - {number}:
        return None
    return True


def mentions(text: str, answer: str) -> bool:
    """Return whether a text has an answer: a number by value, else as whole words, case and spacing aside."""
    if (number := as_number(answer)) is not None:
        return number in numeral_values(text)
    phrase = normalise(answer)
    if phrase is None:
        return False
    within = normalise(text) or ""
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", within) is not None


def as_number(answer: str) -> str | None:
    """Return an answer as a canonical number, or ``None`` if it is not exactly one number."""
    found = find_numbers(answer[:_TEXT])
    if len(found) != 1 or re.search(r"[^\W\d_]", answer[: found[0].start] + answer[found[0].end :]):
        return None
    return found[0].value
