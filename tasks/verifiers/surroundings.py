"""Tells from what stands around a numeral whether its value is the number that is meant.

"12" is another number in "-12", "12 million", "x^12", "3:12", "12π" and "not 12". What changes the value in a known way
is taken into it; all else that could change it leaves the number without a value. Only the characters next to a numeral
are looked at, so that a reply of any length costs what a short one does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from thickets.tasks.verifiers.scales import Scale, scale_after

_LOOK_BACK = 32
_DASHES = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
DASH = f"[{_DASHES}]"

_CURRENCY = re.compile(
    r"(?:(?<![A-Za-z])(?:US|CA|AU|NZ|HK|[ACSR])?\\?[$€£¥₹₽₩₺₫₪฿＄￥]|"
    r"(?<![A-Za-z])(?:USD|EUR|GBP|INR|CHF|JPY|CNY|CAD|AUD|Rs\.?))[ \u00a0]?\Z"
)
_CURRENCY_ENDS = frozenset("$€£¥₹₽₩₺₫₪฿＄￥DRPFYs. \u00a0")  # a quick look before the pattern
_NO_MINUS = re.compile(rf"(?:[^\W_]|[)\]}}%]|{DASH}|\u2014)\Z")
_NO_PLUS = re.compile(r"[\w)\]}+]\s?\Z")
_HARMLESS = re.compile(
    r"(?:\\(?:approx|sim|quad|qquad|to|rightarrow|Rightarrow|implies|displaystyle)\s*|</?[A-Za-z]\w{0,15}>\s?)\Z"
)
_OTHER_BEFORE = re.compile(
    rf"""(?:
      [^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]     # COVID19; scripts that write no spaces aside
    | \^\s*\{{?\s* | [A-Za-z0-9)}}\]]_\{{?\s*             # an exponent or an index, but _5_
    | \}}\s*\{{\s*                                      # the second argument of a LaTeX command
    | (?:√|\\sqrt(?:\[[^\]]*\])?|\b(?:sqrt|log|ln|sin|cos|tan|exp|mod|base))\s*[({{]?\s*
    | [A-Za-z]\(                                        # f(5)
    | (?:{DASH}|\u2014)\s*\(\s*                         # -(5)
    | {DASH}[ \t\u00a0]{{1,3}} | \u2014                 # "- 5": a minus or the dot of a list
    | \w\.                                              # No.5
    | [A-Za-z)\]}}](?:\s\*\s|\*|\s?[+/×·÷]\s?)          # x + 5
    | [A-Za-z)\]}}]\s?\\(?:times|cdot)\s*
    | \\(?:div|pm|mp|leq?|geq?|lt|gt|neq?)\s*
    | [±≤≥≠<√]\s*|!=\s*
    | (?<![->=<\w"'/\n])>\s?                            # > 5, but <b>5, -> 5, >> 5 and the mark of a quotation
    )\Z""",
    re.VERBOSE,
)
_WORD_BEFORE = re.compile(
    r"(?:(?<!\\)\b(?:not|never|nicht|kein|keine|pas|rather\ than|instead\ of|no\ longer|than|except"
    r"|least|most|over|under|above|below|minus|plus|times|(?:divided|multiplied)\ by|twice|double|triple|half"
    r"|(?:half|third|quarter|fifth)\ of"
    r"|between|either|neither|nor|(?<!rounds\ )(?<!rounded\ )up\ to|out\ of)|n['’]t)"
    r"(?:\ (?:equal\ to|exactly|just|only|really|the|a))?\s+[*_$\\(\"'“]{0,4}\Z",
    re.VERBOSE,
)
_NEGATIVE = re.compile(r"\bnegative\s\Z")

_LENGTH = r"[cdkmnµμ]?m|ft|feet|foot|in|inch(?:es)?|yd|yards?|mi|miles?|(?:centi|kilo|milli)?met(?:er|re)s?"
_UNIT = rf"(?:{_LENGTH}|s|secs?|seconds?|h|hr|hours?|kg|g|units?|mol|[NJWLlKCA]|Pa)(?![A-Za-z])"
_POWER = r"(?:\s?\^\s?(?:\{\s?[-−]?\d\s?\}|[-−]?\d)|\*\*\d|⁻?[¹²³])"
_SQUARED = re.compile(
    rf"(?:(?:\s|\\[ ,;]|~){{0,3}}[/·*⋅]?\s?(?:\\(?:text(?:rm|bf|it)?|math(?:rm|bf)|mbox|operatorname)\s*"
    rf"\{{[^{{}}\d]{{0,40}}\}}{_POWER}|{_UNIT}{_POWER}|{_UNIT}(?=(?:\s?[/·*⋅\s]\s?{_UNIT}){{1,3}}{_POWER})"
    rf"|(?:[cdkm]?m|ft|in)[23](?![^\W_]))){{1,4}}"
)
_PERCENT_OR_DEGREES = re.compile(
    r"\s?\\?[%％٪]|\s?(?i:percent|per cent)\b"
    r"|\s?(?:[°º]|\^\s?\{?\s?\\circ\s?\}?)(?:\s?(?:[CFK]|\\text\{[CFK]\})(?![A-Za-z]))?"
)
_OTHER_AFTER = re.compile(
    rf"""(?:
      [ ]?(?:\^|\*\*(?=[\w({{-])|[⁰¹²³⁴-⁹⁻])
    | _\{{?[A-Za-z0-9]
    | \s?(?:\\pi\b|(?i:pi)\b|π|√|\\sqrt|sqrt|∞|\\infty|\\overline|[±≤≥≠])
    | \s?\\(?:pm|mp|div|over|choose|pmod|bmod|mod|leq?|geq?|lt|gt|neq?)\b
    | \s?(?:\\(?:times|cdot)|[*×·÷])\s?(?:[A-Za-z(](?![A-Za-z])|\\[A-Za-z])
    | \s?\+\s?(?:[A-Za-z(\\]|$)|\+(?!\w)
    | \s?/\s?(?:\(|[A-Za-z](?<![mshgLlk])(?![A-Za-z]))
    | \s?>\s?[A-Za-z(](?![A-Za-z])|\s?<(?=\s[\dA-Za-z]|\d|[a-z](?![\w>]))
    | [A-Za-z](?<![mgshlLWVAJNCFK])(?![^\W\d_])         # 5x, 3i, 2e
    | [ ][xyznpqi](?![\w'’])                            # 5 x
    | {DASH}(?![^\W\d_])|\u2014(?=\d)
    | \s(?:or|oder|ou|(?:is|was)\s(?:not|wrong|incorrect|false))\b
    | (?:\s\w{{1,15}})?\s(?:and|&)\s(?:an?\s|one[\s-]|two[\s-]|three[\s-])?(?:half|quarters?|thirds?)\b
    | \set\sdemie?\b|\sy\smedi[ao]\b
    | \s?(?:thirds|(?:fourth|fifth|sixth|seventh|eighth|ninth|tenth|hundredth|thousandth|millionth)s?)\b
    | \s(?:choose|mod|modulo)\s
    | [*_"'”’)\]}}$\s]{{0,3}}[?？]                      # asked, not said
    | ‰|分之
    )""",
    re.VERBOSE,
)
_ENDLESS = re.compile(r"\.\.|…|\\l?dots")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a numeral's surroundings make of it.

    Attributes:
        start: Where the number begins, its sign and currency included.
        end: Where it ends, its scale, percent sign and squared unit included.
        minus: Whether it is negative.
        scale: Power of ten of "million" and the like.
        clear: Whether nothing else could change the value.
    """

    start: int
    end: int
    minus: bool
    scale: int
    clear: bool


def surroundings(text: str, start: int, end: int) -> Surroundings:
    """Look around the numeral at ``text[start:end]``."""
    first, minus, money, clear = _before(text, start)
    scale = scale_after(text, end, money)
    clear = clear and scale is not None
    scale = scale or Scale(0, end)
    last = scale.end
    for pattern in (_PERCENT_OR_DEGREES, _SQUARED):
        if found := pattern.match(text, last):
            last = found.end()
    if clear:
        endless = "." in text[start:end] and _ENDLESS.match(text, last)
        clear = not endless and not _OTHER_AFTER.match(text, last)
    return Surroundings(first, last, minus, scale.exponent, clear)


def _before(text: str, start: int) -> tuple[int, bool, bool, bool]:
    """Return where a number begins, and whether it is negative, an amount of money, and nothing but its value."""
    before = text[max(0, start - _LOOK_BACK) : start]
    if not before:
        return start, False, False, True
    rest, money = _without_currency(before)
    minus = False
    if rest and rest[-1] in _DASHES:
        minus = not _NO_MINUS.search(rest[:-1])
        if not minus:
            # Of "10-12", whoever reads both numbers sees that they are joined; of "COVID-19" there is but one.
            return start - len(before) + len(rest), False, money, rest[-2:-1].isdigit()
        rest = rest[:-1]
        if not money:
            rest, money = _without_currency(rest)
    elif rest and rest[-1] == "+" and not _NO_PLUS.search(rest[:-1]):
        rest = rest[:-1]
    if not minus and (found := _NEGATIVE.search(rest)):
        minus, rest = True, rest[: found.start()]
    return start - len(before) + len(rest), minus, money, _is_clear(rest)


def _without_currency(before: str) -> tuple[str, bool]:
    if before[-1:] in _CURRENCY_ENDS and (found := _CURRENCY.search(before)):
        return before[: found.start()], True
    return before, False


def _is_clear(before: str) -> bool:
    if not before or _HARMLESS.search(before):
        return True
    return not _OTHER_BEFORE.search(before) and not _WORD_BEFORE.search(before.lower())
