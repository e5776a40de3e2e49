"""Reads one numeral, however it is written, as one canonical string per value.

Canonical answers are votes, so numerals of the same value must be the same string. Nothing is evaluated: values go
through ``decimal.Decimal`` and ``fractions.Fraction``, never through ``float`` (0.1 + 0.2) and never through ``eval``.
A spelling that can be read in two ways ("3,5" is a list or three and a half) has no value.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from fractions import Fraction

# Larger than any answer, and small enough for exact arithmetic to take no time.
_MAX_DIGITS = 400
_MAX_EXPONENT_DIGITS = 6
_PLAIN_DIGITS = 60

_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
# What separates thousands, as one sign each; "1{,}234" and "1\,234" are how LaTeX writes 1,234 and 1 234.
_LATEX_SEPARATORS = (("{,}", ","), (",\\!", ","), ("\\!", ""), ("\\,", " "), ("\\;", " "), ("\\:", " "), ("\\ ", " "))
_SIGNS = str.maketrans(
    dict.fromkeys(_SPACES, " ") | {"~": " ", "\N{RIGHT SINGLE QUOTATION MARK}": "'", "٫": ".", "٬": ","}
)
_LATIN = (
    re.compile(r"(?P<whole>\d+)(?:\.(?P<part>\d+))?|\.(?P<bare>\d+)"),
    re.compile(r"(?P<whole>[1-9]\d{0,2}(?P<by>[ ,'_])\d{3}(?:(?P=by)\d{3})*)(?:\.(?P<part>\d+))?"),
    re.compile(r"(?P<whole>[1-9]\d?(?:,\d{2})+,\d{3})(?:\.(?P<part>\d+))?"),  # 12,34,567: lakhs and crores
)
# A comma is decimal where it cannot separate thousands, nor two numbers of a list: "3,5" has no value, "3,50" has.
_CONTINENTAL = (
    re.compile(r"(?P<whole>[1-9]\d{0,2}(?:\.\d{3}){2,})"),
    re.compile(r"(?P<whole>[1-9]\d{0,2}(?P<by>[. '])\d{3}(?:(?P=by)\d{3})*),(?P<part>\d+)"),
    re.compile(r"(?P<whole>\d{4,}),(?P<part>\d+)"),
    re.compile(r"(?P<whole>\d{1,3}),(?P<part>\d{2}|\d{4,})"),
    re.compile(r"(?P<whole>0),(?P<part>\d{2,})"),
)
_NOT_A_DIGIT = re.compile(r"\D")


def decimal_form(numeral: str) -> str | None:
    """Write a numeral with a point and without separators.

    Args:
        numeral: Digits of any script with separators, no sign: ``"1,234.50"``, ``"1.234,5"``, ``"12 345"``.

    Returns:
        ``"1234.50"``; ``None`` if the separators do not tell, or for more digits than any answer has.
    """
    if len(numeral) > 2 * _MAX_DIGITS:
        return None
    if not numeral.isascii() or not numeral.isdigit():
        numeral = _ascii(numeral)
        for latex, sign in _LATEX_SEPARATORS:
            numeral = numeral.replace(latex, sign)
        numeral = numeral.translate(_SIGNS)
    if len(numeral) > _MAX_DIGITS:
        return None
    for pattern in (*_LATIN, *_CONTINENTAL):
        if match := pattern.fullmatch(numeral):
            groups = match.groupdict()
            whole = _NOT_A_DIGIT.sub("", groups["whole"] or "0")
            part = groups.get("part") or groups.get("bare")
            return f"{whole}.{part}" if part else whole
    return None


def whole_number(digits: str) -> int:
    """Read digits of any script."""
    return int(_ascii(digits))


def canonical_number(number: str) -> str | None:
    """Write a number as one string per value: no separators, no avoidable exponent, no trailing zeros, no ``-0``.

    Args:
        number: Digits with optional minus, thousands commas, fraction and exponent.

    Returns:
        ``"1234.5"`` for ``"1,234.50"``; ``None`` for an exponent of more than six digits,
        which is no answer to anything.
    """
    if number.isdigit() and len(number) <= _PLAIN_DIGITS:
        return number.lstrip("0") or "0"  # nearly all numbers, and fast
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
    stripped = stripped.rjust(1 - scale, "0")
    return f"{minus}{stripped[:scale]}.{stripped[scale:]}"


def canonical_fraction(value: Fraction) -> str | None:
    """Write a fraction as a decimal where it ends (``"0.75"``), else in lowest terms (``"1/3"``)."""
    rest, twos, fives = value.denominator, 0, 0
    if rest.bit_length() > 4 * _MAX_DIGITS or value.numerator.bit_length() > 4 * _MAX_DIGITS:
        return None
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    return canonical_number(f"{value.numerator * 10**places // value.denominator}e-{places}")


def power(base: Fraction, exponent: int) -> Fraction | None:
    """Raise a number to a power; ``None`` where the result is larger than any answer, or there is none."""
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if size * abs(exponent) > 3 * _MAX_DIGITS or (base == 0 and exponent <= 0):
        return None
    return base**exponent


def _ascii(numeral: str) -> str:
    if numeral.isascii():
        return numeral
    return "".join(str(unicodedata.decimal(sign)) if sign.isdecimal() else sign for sign in numeral)
