"""Reads the word after a numeral that multiplies it: thousand, million, k."""

from __future__ import annotations

import re
from typing import NamedTuple

_WORDS = {
    "hundred hundreds hundert": 2,
    "thousand thousands tsd tausend mille тыс тысяч тысячи тысяча": 3,
    "lakh lakhs lac lacs": 5,
    "million millions millionen mio mn millones millón milliones млн миллион миллиона миллионов": 6,
    "crore crores": 7,
    "billion billions bn milliarde milliarden milliard milliards mrd млрд миллиард миллиарда миллиардов": 9,
    "trillion trillions": 12,
}
_EXPONENTS = {word: exponent for words, exponent in _WORDS.items() for word in words.split()}
_SIGNS = {"百": 2, "千": 3, "천": 3, "万": 4, "萬": 4, "만": 4, "亿": 8, "億": 8, "억": 8}
# After an amount of money these are scales; elsewhere they may be kelvin, metres or bytes.
_MONEY = {"k": 3, "K": 3, "m": 6, "M": 6, "b": 9, "B": 9, "T": 12}

_GAP = r"(?:[ \u00a0\u202f\u2009~-]|\\[ ,])?(?:\\(?:text|mathrm|textrm|mbox)\s*\{\s*)?"
_SCALE = re.compile(
    rf"(?i:{_GAP}(?P<word>{'|'.join(sorted(_EXPONENTS, key=len, reverse=True))})(?![^\W\d_])\.?(?:\s*\}})?)"
    rf"|(?P<sign>[{''.join(_SIGNS)}])(?<!千(?=[克米瓦]))"
    r"|(?P<space>[ ]?)(?P<letter>[kKmMbBT])(?![\w'’&])"
)
# "5 dozen" is 60, or 5 where dozens are asked for; "5 mil" is 5000 in Spanish and five million in slang.
_UNSURE = re.compile(rf"(?i:{_GAP}(?:dozens?|mil|{'|'.join(_EXPONENTS)})\b)|[{''.join(_SIGNS)}](?<!千(?=[克米瓦]))")


class Scale(NamedTuple):
    """A power of ten, and where the word for it ends."""

    exponent: int
    end: int


def scale_after(text: str, end: int, money: bool) -> Scale | None:
    """Return the scale of a numeral that ends at ``end``; exponent 0 if no word follows; ``None`` if one is unclear.

    Args:
        text: The whole text.
        end: End of the numeral.
        money: Whether a currency sign stands before it.
    """
    scale = Scale(0, end)
    if found := _SCALE.match(text, end):
        if letter := found["letter"]:
            if money or (letter == "k" and not found["space"]):
                scale = Scale(_MONEY[letter], found.end())
            elif letter != "m":  # metres
                return None
        elif sign := found["sign"]:
            scale = Scale(_SIGNS[sign], found.end())
        else:
            scale = Scale(_EXPONENTS[found["word"].lower()], found.end())
    return None if _UNSURE.match(text, scale.end) else scale
