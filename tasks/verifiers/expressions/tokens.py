"""The words of an expression: numbers, names, functions, commands and signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

MAX_DIGITS = 1_000

FUNCTIONS = {
    "sqrt", "exp", "ln", "log", "abs", "sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh",
    "asin", "acos", "atan", "floor", "ceiling", "factorial", "binomial",
}  # fmt: skip
_ALSO_CALLED = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "ceil": "ceiling", "lg": "log"}
_GREEK = {
    "alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi",
    "rho", "sigma", "tau", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi",
    "Omega",
}  # fmt: skip
_CONSTANTS = {"pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo"}
_JOINED = ("sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "ln", "pi")
WORDS = FUNCTIONS | set(_ALSO_CALLED) | _GREEK | set(_CONSTANTS)
"""Every run of letters that is not a product of variables."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][+-]?\d+(?![\d.]))?|\.\d+)"
    r"|\\(?P<command>[A-Za-z]+)|(?P<letters>[A-Za-z]+)|(?P<sign>[-+*/^_!(){}\[\]|]))"
)
_SUBSCRIPT = re.compile(r"\s*_\s*(?:\{\s*([A-Za-z0-9]{1,10})\s*\}|([A-Za-z0-9]))")
_REPEATING = re.compile(r"(?<![\w.])(\d*)\.(\d*)\\overline\s*\{\s*(\d+)\s*\}")


class Unreadable(Exception):
    """A text that is not surely one expression."""


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a text in the signs of `notation.plain`: their kind, and what they are.

    Raises:
        Unreadable: Something is no word of an expression.
    """
    text = _REPEATING.sub(lambda match: f"({_repeating(*match.groups())})", text)
    text, at = text.rstrip(), 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(text[at : at + 10])
        at = match.end()
        kind, found = str(match.lastgroup), str(match[str(match.lastgroup)])
        if kind == "sign":
            yield kind, found
            continue
        subscript = _SUBSCRIPT.match(text, at)
        if kind == "number":
            if subscript:  # 101_2, a number in base two, is a name: it is not 101
                at = subscript.end()
                yield "name", f"{found}_{subscript[1] or subscript[2]}"
            else:
                yield kind, found
            continue
        names = [found] if kind == "command" or found in WORDS else _split(found)
        for position, name in enumerate(names):
            token = _named(name, is_command=kind == "command")
            if subscript and position == len(names) - 1 and token[0] in ("letters", "name", "constant"):
                at = subscript.end()
                token = ("name", f"{name}_{subscript[1] or subscript[2]}")
            yield token


def _split(letters: str) -> list[str]:
    """Split letters into variables, functions and constants: ``xy`` is a product, ``sinx`` a sine.

    Raises:
        Unreadable: They are a word.
    """
    for name in _JOINED:
        before, found, after = letters.partition(name)
        if found and len(before) <= 2 and len(after) <= 2:
            return [*before, name, *after]
    if len(letters) > 4 or (len(letters) > 2 and any(letter in "eiouEIOU" for letter in letters)):
        raise Unreadable(letters)
    return list(letters)


def _named(name: str, *, is_command: bool) -> tuple[str, str]:
    if name in _CONSTANTS:
        return "constant", _CONSTANTS[name]
    if name in ("e", "i") and not is_command:
        return "constant", name
    if (function := _ALSO_CALLED.get(name, name)) in FUNCTIONS:
        return "function", function
    if name in _GREEK:
        return "name", name
    return ("command" if is_command else "letters"), name


def number(text: str) -> Fraction:
    """Return the value of a number's digits.

    Raises:
        Unreadable: There are too many.
    """
    digits = text.replace(",", "").lower()
    mantissa, _, exponent = digits.partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > MAX_DIGITS:
        raise Unreadable("too many digits")
    return Fraction(digits)


def _repeating(whole: str, fixed: str, repeated: str) -> str:
    if len(whole) + len(fixed) + len(repeated) > 50:
        raise Unreadable("too many digits")
    ahead = 10 ** len(fixed)
    value = Fraction(int(whole + fixed or "0"), ahead) + Fraction(int(repeated), ahead * (10 ** len(repeated) - 1))
    return f"{value.numerator}/{value.denominator}"
