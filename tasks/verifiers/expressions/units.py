r"""Tells a value from its unit: ``12\text{ cm}^2``, ``$5``, ``50\%``, ``18 apples``."""

from __future__ import annotations

import re

from thickets.tasks.verifiers.expressions.notation import WORDS_CLOSE, WORDS_OPEN
from thickets.tasks.verifiers.expressions.tokens import WORDS, Unreadable

_SCALES = {
    "hundred", "hundreds", "thousand", "thousands", "million", "millions", "billion", "billions", "trillion",
    "trillions", "dozen", "dozens", "k", "bn", "mn", "score", "half", "quarter", "quarters", "third", "thirds",
}  # fmt: skip
# After a number these say that the value is another one.
_NO_UNITS = {
    *_SCALES, "or", "and", "not", "if", "base", "more", "less", "fewer", "than", "out", "plus", "minus", "times",
    "over", "squared", "cubed", "factorial", "divided", "when", "unless", "but", "modulo", "mod", "to", "through",
    "until", "except", "remainder", "twice", "double", "choose", "power", "root", "with", "without",
}  # fmt: skip
_SHORT_UNITS = {
    "cm", "mm", "km", "nm", "kg", "mg", "lb", "in", "ml", "kl", "dl", "ft", "yd", "mi", "oz", "hr", "hrs", "min",
    "mins",
    "sec", "secs", "kw", "mw", "hz", "khz", "mph", "kph", "km/h", "m/s", "pm", "am", "cents", "units", "sq",
}  # fmt: skip
_ALSO_UNITS = {
    "meter": "m", "metre": "m", "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "kilometer": "km",
    "kilometre": "km", "gram": "g", "kilogram": "kg", "inche": "in", "inch": "in", "foot": "ft", "feet": "ft",
    "mile": "mi", "hour": "hr", "hrs": "hr", "h": "hr", "minute": "min", "mins": "min", "second": "sec", "s": "sec",
    "secs": "sec", "cent": "cents",
}  # fmt: skip
_UNIT_POWER = r"(?:\s*\^\s*\{?\s*-?\d\s*\}?)?"
_QUOTED_UNIT = re.compile(rf"(.+?)\s*{WORDS_OPEN}([^{WORDS_CLOSE}]*){WORDS_CLOSE}({_UNIT_POWER})", re.DOTALL)
_PLAIN_UNIT = re.compile(
    rf"(.*[\d)}}\]])(\s*)((?:[A-Za-z]+|km/h|m/s)(?:\.? [A-Za-z/]+){{0,3}})\.?({_UNIT_POWER})", re.DOTALL
)
_DEGREES = re.compile(r"(.+?)\s*\^\s*\{?\s*\\circ\s*\}?\s*([CF]?)", re.DOTALL)
_CURRENCIES = "$€£¥"


def without_unit(text: str) -> tuple[str, str | None]:  # noqa: PLR0911 - one per way to write a unit
    r"""Split ``12\text{ cm}^2`` into value and unit; the unit is None if there is none.

    Raises:
        Unreadable: The words change the value, as in ``2.5 million``.
    """
    if text[:1] in _CURRENCIES and len(text) > 1:
        return text[1:], text[0]
    if text[:2] in ("-$", "-€", "-£"):
        return "-" + text[2:], text[1]
    if text.endswith("%"):
        return text[:-1], "%"
    if text.endswith(("€", "£", "$")):
        return text[:-1], text[-1]
    if (degrees := _DEGREES.fullmatch(text)) and not re.search("[A-Za-z]{2}", degrees[1].replace("frac", "")):
        return degrees[1], "°" + degrees[2]
    if quoted := _QUOTED_UNIT.fullmatch(text):
        return quoted[1], _unit(quoted[2], quoted[3])
    if words := _PLAIN_UNIT.fullmatch(text):
        first = words[3].split()[0].strip(".")
        if first.casefold() in _NO_UNITS and len(first) > 1:
            raise Unreadable(first)
        is_known = first.casefold() in _SHORT_UNITS
        is_word = len(first) > 2 and words[2] and re.search("[aeiou]", first) and first not in WORDS
        if is_known or is_word:
            return words[1], _unit(words[3], words[4])
    return text, None


def _unit(words: str, power: str) -> str:
    words = words.strip().strip(".").casefold()
    if not re.fullmatch(r"[^\W\d_]+(?:[ ./*-]+[^\W\d_]+){0,4}(?:\^?\{?[23]\}?)?", words):
        raise Unreadable(words)
    if {word.strip(".") for word in words.split()} & _NO_UNITS:
        raise Unreadable(words)
    if words in ("percent", "per cent", "pct", "percentage"):
        return "%"
    if words in ("degrees", "degree"):
        return "°"
    if words in ("dollars", "dollar", "usd"):
        return "$"
    exponent = re.sub(r"[^\d-]", "", power)
    singular = words[:-1] if len(words) > 3 and words.endswith("s") and not words.endswith("ss") else words
    if singular.startswith(("square ", "sq ", "sq. ", "cubic ")) and not exponent:
        exponent = "3" if singular.startswith("cubic") else "2"
        singular = singular.partition(" ")[2]
    singular = _ALSO_UNITS.get(singular, singular)
    return f"{singular}^{exponent}" if exponent else singular
