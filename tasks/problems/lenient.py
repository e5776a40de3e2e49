"""Does a reply name the right answer at all, wherever and however it does? For telling format from reasoning.

A reply that names it has at most got the format wrong; one that does not has not found it. "At most": a right number
among the steps of a wrong calculation is named too, so what is counted as format is an upper bound.
"""

from __future__ import annotations

import re

from thickets.tasks.problems.text import canonical_number, normalise, numbers


def lenient_match(text: str, gold: str, question: str) -> bool | None:
    """Whether a reply names the gold answer.

    Args:
        text: The whole reply.
        gold: The gold answer in the problem's canonical form.
        question: Where it names the gold answer itself (a list to choose from, a number of the story), a reply that
            repeats the question names it too, and that says nothing.

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
    """Whether an answer occurs in a text: a number by value, anything else as whole words, case and spacing aside."""
    if (number := as_number(answer)) is not None:
        return number in _values(text)
    phrase = normalise(answer)
    if phrase is None:
        return False
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", " ".join(text.casefold().split())) is not None


def as_number(answer: str) -> str | None:
    """The canonical number that an answer is, or ``None`` where it is more or less than one number."""
    found = numbers(answer)
    if len(found) != 1 or re.search(r"[^\W\d_]", answer.replace(found[0], "", 1)):
        return None
    return canonical_number(found[0])


def _values(text: str) -> set[str | None]:
    return {canonical_number(number) for number in numbers(text)} - {None}
