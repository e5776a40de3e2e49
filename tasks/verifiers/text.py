"""Finds numbers and phrases in free text, and brings each to one canonical form.

Canonical answers are votes, so answers of the same meaning must be the same string. Text is never evaluated: numbers go
through ``decimal.Decimal``, never through ``float`` (0.1 + 0.2) and never through ``eval``.
"""

from __future__ import annotations

import re
from decimal import Decimal

# A minus counts only where it cannot stand between two numbers: "10-12" ends in 12, "x = -3" in -3.
# A number does not start inside another (1.2.3 has no number .3) but may touch letters (USD5, 12cm).
_NUMBER = re.compile(
    r"(?:(?<![0-9A-Za-z)\]}])-)?"
    r"(?<![0-9])(?<![0-9]\.)"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?:[eE][-+]?[0-9]+)?"
)
# "1{,}234" is how LaTeX writes 1,234. A currency sign says nothing about the value, nor does a percent sign:
# "60%" counts as 60, because that is how data sets write a percentage that is asked for.
_SYMBOLS = {"{,}": ",", "\N{MINUS SIGN}": "-", "\\$": "", "$": "", "€": "", "£": ""}

_MAX_EXPONENT_DIGITS = 6
_PLAIN_DIGITS = 60

_TERMINAL = " \t\r\n.!?,;:"


def numbers(text: str) -> list[str]:
    """Return every number in a text, in order, in the form that `canonical_number` takes."""
    for symbol, plain in _SYMBOLS.items():
        text = text.replace(symbol, plain)
    return _NUMBER.findall(text)


def last_number(text: str) -> str | None:
    """Return the last number of a text in canonical form, or ``None`` if there is none."""
    found = numbers(text)
    return canonical_number(found[-1]) if found else None


def canonical_number(number: str) -> str | None:
    """Write a number as one string per value: no separators, no avoidable exponent, no trailing zeros, no ``-0``.

    Args:
        number: Digits with optional minus, thousands commas, fraction and exponent, as `numbers` returns them.

    Returns:
        ``"1234.5"`` for ``"1,234.50"``; ``None`` for an exponent of more than six digits,
        which is no answer to anything.
    """
    mantissa, _, exponent = number.lower().replace(",", "").partition("e")
    if len(exponent.lstrip("+-")) > _MAX_EXPONENT_DIGITS:
        return None
    sign, digits, scale = Decimal(f"{mantissa}e{exponent or 0}").as_tuple()
    assert isinstance(scale, int)  # not an infinity and not a NaN: the text was digits
    significant = "".join(map(str, digits)).lstrip("0")
    stripped = significant.rstrip("0")
    if not stripped:
        return "0"
    scale += len(significant) - len(stripped)
    minus = "-" if sign else ""
    leading = len(stripped) + scale  # digits before the point
    if abs(leading) > _PLAIN_DIGITS:
        # Written out, 1e999999 would be a vote of a megabyte.
        return f"{minus}{stripped[0]}.{stripped[1:] or '0'}e{leading - 1}"
    if scale >= 0:
        return minus + stripped + "0" * scale
    if leading > 0:
        return f"{minus}{stripped[:leading]}.{stripped[leading:]}"
    return f"{minus}0.{'0' * -leading}{stripped}"


def normalise(text: str) -> str | None:
    """Remove from a phrase what does not change its meaning: case, runs of white space, punctuation at the end.

    Returns:
        ``"san francisco"`` for ``" San  Francisco. "``; ``None`` where nothing is left.
    """
    return " ".join(text.casefold().split()).rstrip(_TERMINAL) or None


def boxed(text: str) -> str | None:
    r"""Return the content of the last complete ``\boxed{...}``, inner braces included, or ``None``."""
    end = len(text)
    while (start := text.rfind(r"\boxed{", 0, end)) >= 0:
        depth = 0
        first = start + len(r"\boxed{")
        for position in range(first, len(text)):
            if text[position] == "{":
                depth += 1
            elif text[position] == "}":
                depth -= 1
                if depth < 0:
                    return text[first:position]
        end = start
    return None


_TAG = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_MARKER = re.compile(r"answer\s*(?:is|:|=)[ \t]*:?", re.IGNORECASE)
_MARKUP = " \t\r\n*`"


def final_answer(text: str) -> str | None:
    """Return the answer in a reply of free form.

    The last ``<answer>`` tag wins; it need not be closed, since decoding may stop at ``</answer>`` and cut it off.
    Without a tag it is what follows the last "answer is" or "Answer:" (the rest of that line, or all that comes after
    where the line ends there), and without that the last line.

    Returns:
        Stripped text, or ``None`` where there is none.
    """
    for tagged in reversed(_TAG.findall(text)):
        if tagged.strip():
            return str(tagged.strip())
    if markers := list(_MARKER.finditer(text)):
        line, _, rest = text[markers[-1].end() :].lstrip(" \t*`").partition("\n")
        if line.strip(_MARKUP):
            # "The answer is **7**." The full stop ends the sentence around the answer; a tagged answer keeps its own.
            return line.strip(_MARKUP).removesuffix(".").rstrip(_MARKUP) or None
        if rest.strip(_MARKUP):
            return rest.strip(_MARKUP)
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else None
