"""Finds the numbers of a text and their values, in whatever form people and models write them.

Numerals that are joined ("3/4", "10-12", "3 or 4", "12:30", "1, 2") are one find: a fraction or a power of ten has a
value, the others have none, and so has a numeral that its surroundings make unclear. A find without a value is an
answer that cannot be read; it is never the value of a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from thickets.tasks.verifiers.numerals import canonical_fraction, canonical_number, decimal_form, power, whole_number
from thickets.tasks.verifiers.surroundings import surroundings

_VULGAR = {
    "¼": (1, 4), "½": (1, 2), "¾": (3, 4), "⅐": (1, 7), "⅑": (1, 9), "⅒": (1, 10), "⅓": (1, 3), "⅔": (2, 3),
    "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8),
    "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺−–", "0123456789-+--")
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_SEPARATOR = rf"(?:[.,'’_٫٬{_SPACES}~]|\{{,\}}|,\\!|\\!|\\[,;: ]|[ ](?=\d{{3}}(?!\d)))"
_VULGAR_SIGN = f"[{''.join(_VULGAR)}]"
_FRAC = (
    r"\\[dtc]?frac(?:\s*\{{(?P<{0}n>[^{{}}]{{1,60}})\}}\s*\{{(?P<{0}d>[^{{}}]{{1,60}})\}}|(?P<{0}n1>\d)(?P<{0}d1>\d))?"
)
_SLASH = "[/⁄∕]"
_NUMERAL = re.compile(
    rf"""
    (?P<mixed>\d++)(?:[ {_SPACES}]++(?P<mn>\d++){_SLASH}(?P<md>\d++)(?![/\d])|[ ]?(?P<vulgar>{_VULGAR_SIGN})
      |\s?{_FRAC.format("w")})
    | (?P<run>\d++(?:{_SEPARATOR}\d++)*+|(?<![\w.])\.\d++)
      (?:[eE](?P<e>[-+−]?\d++)(?!\w)
        |[ ]?(?:\^|\*\*)[ ]?(?:\{{\s*(?P<braced>[-+−–]?\d++)\s*\}}|(?P<power>[-+−–]?\d++))
        |(?P<raised>[⁺⁻]?[⁰¹²³⁴-⁹]++))?
    | (?P<single>{_VULGAR_SIGN})
    | {_FRAC.format("f")}
    """,
    re.VERBOSE,
)
_SIGN = r"[-+*/×x÷·⋅•^<>≤≥±~|&\u2010-\u2015\u2212⁄∕…]"
_WORD = (
    r"or|and|to|through|till?|until|of|out\ of|in|per|by|vs\.?|versus|plus|minus|times|divided\ by|multiplied\ by|over"
    r"|oder|und|bis|von|ou|et|à|o|y|e|a"
)
# What joins two numerals: signs with a blank on both sides or none, a list, a word, a short unit before a sign
# ("5 cm x 7 cm"), and nothing but blanks.
_JOINED = re.compile(
    rf"""(?:
      \s*\(?\s*(?:{_SIGN}|\\(?:times|cdot|div|pm|mp|sim|in|cup|text\{{\s*(?:or|and|to)\s*\}}))+\s*
    | \s?[A-Za-z]{{1,3}}\s?(?:[-+*/×x÷·]|\b(?:by|to)\b)\s?
    | \s+:\s+
    | \s*[,;،、]\s+(?:(?:and|or|und|oder)\s+)?
    | \s+(?:{_WORD})\s+ | \s*\((?:{_WORD})\s+
    | \s*
    )[$€£¥\\{{*_]{{0,3}}""",
    re.VERBOSE,
)
# Without a blank between them two numerals are one thing (12:30, 5x7, 3)(4), but for sentences in scripts without
# blanks; dates and fractions of theirs are one thing as well.
_TOUCHING = re.compile(r"[^\s\u3000-\u9fff\uac00-\ud7af\uff0c\uff1b>]{1,12}|[月年日时時点點比到至或和与と]|分之")
_TWO_UNITS = re.compile(
    r"\s?(?:dollars?|euros?|pounds?|hours?|hrs?|h|feet|foot|ft|years?|weeks?|days?|minutes?|mins?|met(?:er|re)s?"
    r"|kilomet(?:er|re)s?|km|m|kg|kilograms?|lbs?|°)\.?\s?(?P<and>,|,?\s?and|&)?\s?"
)
_SMALLER = re.compile(
    r"\s?(?:cents?|pence|minutes?|mins?|seconds?|secs?|s|inch(?:es)?|in|ounces?|oz|months?|weeks?|days?|hours?|hrs?"
    r"|centimet(?:er|re)s?|cm|met(?:er|re)s?|m|grams?|g|['′\"″])(?![^\W\d_])"
)
_EQUALS = re.compile(r"(?<![!<>])=|≈|≃|\\approx|→|⇒|->|=>|\\(?:to|rightarrow|Rightarrow|implies)\b|>>")
_NEXT = re.compile(r"[,;]|\b(?:and|or|und|oder)\b")  # x = 1, y = 2
_UNEQUAL = re.compile(r"!=|[<>]=|≠|\\neq?\b")
_RATIO = re.compile(rf"\s?{_SLASH}\s?")
_TIMES = re.compile(r"\s?(?:[×xX*·⋅•]|\\times|\\cdot)\s?")
_FARTHEST = 40
_LONGEST_WHOLE = 40


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text.

    Attributes:
        start: Where it begins, its sign and currency included.
        end: Where it ends.
        value: Canonical form; ``None`` if the value cannot be told.
        equals: Whether an equals sign or an arrow stands between the number before it and this one.
    """

    start: int
    end: int
    value: str | None
    equals: bool = False


@dataclass(frozen=True, slots=True)
class _Numeral:
    start: int
    end: int
    clear: bool
    plain: str | None  # digits with a point and an exponent, where that is all there is
    exact: Fraction | None
    minus: bool
    scale: int
    ten: bool  # a power of ten, as in 1.5 x 10^3

    def value(self) -> str | None:
        """Return the canonical form, as if nothing else stood around it."""
        if self.plain is not None and not ("e" in self.plain and self.scale):
            digits = f"-{self.plain}" if self.minus else self.plain
            return canonical_number(f"{digits}e{self.scale}" if self.scale else digits)
        exact = self.fraction()
        return None if exact is None else canonical_fraction(exact)

    def fraction(self) -> Fraction | None:
        """Return the exact value, sign and scale included."""
        exact = self.exact
        if self.plain is not None and "e" not in self.plain:
            exact = Fraction(self.plain)
        return None if exact is None else (-exact if self.minus else exact) * 10**self.scale


def find_numbers(text: str, start: int = 0, end: int | None = None) -> list[Number]:
    """Return the numbers of a text, or of a part of it, in order, each with all that is joined to it.

    Args:
        text: The whole text: what stands around the part counts.
        start: Where the part begins.
        end: Where the part ends; ``None``: where the text does.
    """
    return [_reduce(chain, text, equals) for chain, equals in _chains(text, start, len(text) if end is None else end)]


def numeral_values(text: str) -> set[str]:
    """Return the value of every numeral of a text, each by itself as well: 10 and 12 for "10 to 12"."""
    found = set()
    for chain, equals in _chains(text, 0, len(text)):
        found |= {numeral.value() for numeral in chain} | {_reduce(chain, text, equals).value}
    return {value for value in found if value is not None}


def _chains(text: str, start: int, end: int) -> Iterator[tuple[list[_Numeral], bool]]:
    """Yield numerals that are joined, and whether they equal the ones before."""
    chain: list[_Numeral] = []
    equals = False
    for numeral in _numerals(text, start, end):
        if chain:
            gap = text[chain[-1].end : numeral.start]
            if not _joins(gap, text, numeral):
                yield chain, equals
                chain, equals = [], len(gap) <= _FARTHEST and bool(_EQUALS.search(gap)) and not _NEXT.search(gap)
        chain.append(numeral)
    if chain:
        yield chain, equals


def _numerals(text: str, start: int, end: int) -> Iterator[_Numeral]:
    last = start
    for match in _NUMERAL.finditer(text, start, end):
        if match.start() < last:
            continue  # a digit of the unit before: the 2 of 5 cm^2
        around = surroundings(text, match.start(), match.end())
        plain, exact, ten = _read(match)
        last = around.end
        yield _Numeral(around.start, last, around.clear, plain, exact, around.minus, around.scale, ten)


def _read(match: re.Match[str]) -> tuple[str | None, Fraction | None, bool]:
    """Return a numeral's digits where it is plain, else its exact value, and whether it is a power of ten."""
    if (run := match["run"]) is None:
        return None, _fraction(match), False
    plain = decimal_form(run)
    exponent = match["braced"] or match["power"] or match["raised"]
    if plain is None or (exponent is None and match["e"] is None):
        return plain, None, False
    if exponent is None:
        return f"{plain}e{match['e'].replace('−', '-')}", None, False
    exponent = exponent.translate(_SUPERSCRIPT)
    if len(exponent) > 4:
        return None, None, False
    return None, power(Fraction(plain), int(exponent)), plain == "10"


def _fraction(match: re.Match[str]) -> Fraction | None:
    """Read a vulgar or LaTeX fraction, with the whole number before it if there is one."""
    whole = match["mixed"]
    if sign := match["vulgar"] or match["single"]:
        fraction = Fraction(*_VULGAR[sign])
    else:
        kind = "f" if whole is None else "w"
        above = _signed(match["mn"] or match[f"{kind}n"] or match[f"{kind}n1"])
        below = _signed(match["md"] or match[f"{kind}d"] or match[f"{kind}d1"])
        if above is None or not below:
            return None
        fraction = above / below
    if whole is None:
        return fraction
    return whole_number(whole) + fraction if len(whole) <= _LONGEST_WHOLE and 0 < fraction < 1 else None


def _signed(text: str | None) -> Fraction | None:
    text = (text or "").strip()
    minus = text[:1] in ("-", "−", "–")
    plain = decimal_form(text[1:].strip() if minus else text)
    return None if plain is None else Fraction(f"-{plain}" if minus else plain)


def _joins(gap: str, text: str, numeral: _Numeral) -> bool:
    if len(gap) > _FARTHEST or "\n" in gap:
        return False
    if _EQUALS.search(gap) and not _UNEQUAL.search(gap):
        return False
    if _JOINED.fullmatch(gap) or _TOUCHING.fullmatch(gap):
        return True
    units = _TWO_UNITS.fullmatch(gap)
    return units is not None and (not units["and"] or _SMALLER.match(text, numeral.end) is not None)


def _reduce(chain: list[_Numeral], text: str, equals: bool) -> Number:
    """Bring joined numerals to one number."""
    first, last = chain[0], chain[-1]
    value = None
    clear = all(numeral.clear for numeral in chain)
    if clear and len(chain) == 1:
        value = first.value()
    elif clear and len(chain) == 2 and not last.minus and not first.scale and not last.scale:
        gap = text[first.end : last.start]
        left, right = first.fraction(), last.fraction()
        if left is not None and right:
            if _RATIO.fullmatch(gap):
                value = canonical_fraction(left / right)
            elif last.ten and _TIMES.fullmatch(gap):
                value = canonical_fraction(left * right)
    return Number(first.start, last.end, value, equals)
