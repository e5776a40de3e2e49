"""Finds the right answer in any place and form of a reply, to tell wrong format from wrong reasoning.

A reply without the right answer has not found it. A reply with it may only have the wrong format; a right number among
the steps of a wrong calculation is found too, so the number of wrong formats is an upper bound.
"""

from __future__ import annotations

import re

from thickets.tasks.verifiers.text import canonical_number, normalise, numbers


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
    if not mentions(text, gold):
        return False
    if not mentions(question, gold):
        return True
    number = as_number(gold)
    if number is None or (_values(text) & _values(question)) - {number}:
        return None
    return True


def mentions(text: str, answer: str) -> bool:
    """Return whether a text has an answer: a number by value, else as whole words, case and spacing aside."""
    if (number := as_number(answer)) is not None:
        return number in _values(text)
    phrase = normalise(answer)
    if phrase is None:
        return False
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", " ".join(text.casefold().split())) is not None


def as_number(answer: str) -> str | None:
    """Return an answer as a canonical number, or ``None`` if it is not exactly one number."""
    found = numbers(answer)
    if len(found) != 1 or re.search(r"[^\W\d_]", answer.replace(found[0], "", 1)):
        return None
    return canonical_number(found[0])


def _values(text: str) -> set[str | None]:
    return {canonical_number(number) for number in numbers(text)} - {None}
