"""Reads one expression, LaTeX or plain, into a tree; by a strict grammar, so that what is ambiguous is not read.

    sum     := product (("+" | "-") product)*
    product := factor (("*" | "/" | nothing) factor)*
    factor  := ("-" | "+") factor | power
    power   := atom "!"* ("^" exponent)?

A tree is plain tuples: nothing in it can run. `1/2x`, `2^3^2` and `3 4` have more than one meaning and are refused.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, TypeAlias

from thickets.tasks.verifiers.expressions.tokens import Unreadable, number, tokens

Tree: TypeAlias = tuple[Any, ...]

MAX_DEPTH = 40
MAX_TOKENS = 300

_CLOSING = {"(": ")", "{": "}", "[": "]", "|": "|"}


def read(text: str) -> Tree:
    """Read a text in the signs of `notation.plain`.

    Raises:
        Unreadable: It is not one expression, or too large for one.
    """
    return _Reader(text).read()


def rational(tree: Tree) -> Fraction | None:
    """Return the value of a tree of rational numbers, without SymPy; ``None`` if it holds anything else or is large."""
    match tree:
        case ("number", value):
            return value
        case ("neg", inner):
            value = rational(inner)
            return None if value is None else -value
        case ("add" | "mul" | "div" | "pow" as operation, left, right):
            a, b = rational(left), rational(right)
            if a is None or b is None:
                return None
            return _combined(operation, a, b)
    return None


def _combined(operation: str, a: Fraction, b: Fraction) -> Fraction | None:
    if operation == "add":
        return a + b
    if operation == "mul":
        return a * b
    if operation == "div":
        return a / b if b else None
    if b.denominator != 1 or abs(b) * max(a.numerator.bit_length(), a.denominator.bit_length()) > 4_000:
        return None
    return a ** int(b) if a or b > 0 else None


class _Reader:
    """Recursive descent over tokens (kind, text, where), to a depth of `MAX_DEPTH`."""

    def __init__(self, text: str) -> None:
        self._tokens = list(tokens(text))
        if not 0 < len(self._tokens) <= MAX_TOKENS:
            raise Unreadable(text)
        self._at = 0
        self._depth = 0
        self._bars = 0

    def read(self) -> Tree:
        tree = self._sum()
        if self._at < len(self._tokens):
            raise Unreadable(self._tokens[self._at])
        return tree

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, sign: str) -> bool:
        if self._peek() == ("sign", sign):
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise Unreadable(f"no {sign}")

    def _sum(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("too deep")
        tree = self._product()
        while self._peek() in (("sign", "+"), ("sign", "-")):
            _, sign = self._next()
            term = self._product()
            tree = ("add", tree, ("neg", term) if sign == "-" else term)
        self._depth -= 1
        return tree

    def _product(self) -> Tree:
        tree = self._factor()
        divided = False
        before = self._tokens[self._at - 1]
        while True:
            if self._take("*"):
                tree, divided = ("mul", tree, self._factor()), False
            elif self._take("/"):
                tree, divided = ("div", tree, self._factor()), True
            elif self._begins_atom():
                kind, _ = self._peek()
                if divided:
                    raise Unreadable("1/2x has two meanings")
                if kind == "number":
                    # "2 3" is no product, "2 1/2" is two and a half, "x 2" may be x_2 or x^2 with the sign lost.
                    tree = self._mixed(tree, before)
                elif tree[0] == "number" and self._peek() == ("command", "frac"):
                    tree = _sum_or_product(tree, self._factor())
                else:
                    tree = ("mul", tree, self._factor())
            else:
                return tree
            before = self._tokens[self._at - 1]

    def _mixed(self, whole: Tree, before: tuple[str, str]) -> Tree:
        if whole[0] != "number" or before[0] != "number" or whole[1].denominator != 1:
            raise Unreadable("two numbers side by side")
        top = self._atom()
        self._expect("/")
        if self._peek()[0] != "number":
            raise Unreadable("two numbers side by side")
        part = ("div", top, self._atom())
        if self._begins_atom() or self._peek() in (("sign", "/"), ("sign", "^")):
            raise Unreadable("two numbers side by side")
        mixed = _sum_or_product(whole, part)
        if mixed[0] != "add":
            raise Unreadable("no mixed number")
        return mixed

    def _begins_atom(self) -> bool:
        kind, text = self._peek()
        if kind == "sign":
            return text in "({" or (text == "|" and self._bars == 0)
        return kind != "end" and text not in ("rfloor", "rceil", "circ")

    def _factor(self) -> Tree:
        if self._take("-"):
            return ("neg", self._nested(self._factor))
        if self._take("+"):
            return self._nested(self._factor)
        return self._power()

    def _nested(self, read: Any) -> Tree:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("too deep")
        tree: Tree = read()
        self._depth -= 1
        return tree

    def _power(self) -> Tree:
        base = self._atom()
        while self._take("!"):
            base = ("call", "factorial", base)
        if self._degrees():
            return ("div", ("mul", base, ("constant", "pi")), ("number", Fraction(180)))
        if self._take("^"):
            base = ("pow", base, self._exponent())
            if self._peek() in (("sign", "^"), ("sign", "!")):
                raise Unreadable("2^3^2 has two meanings")
        return base

    def _degrees(self) -> bool:
        ahead = [text for _, text in self._tokens[self._at : self._at + 4]]
        for sign in (["^", "circ"], ["^", "{", "circ", "}"]):
            if ahead[: len(sign)] == sign:
                self._at += len(sign)
                return True
        return False

    def _exponent(self) -> Tree:
        if self._take("-"):
            return ("neg", self._nested(self._atom))
        return self._nested(self._atom)

    def _atom(self) -> Tree:  # noqa: PLR0911 - one per kind of token
        kind, text = self._next()
        if kind == "number":
            return ("number", number(text))
        if kind == "letters":
            return ("symbol", text)
        if kind in ("constant", "name"):
            return ("constant" if kind == "constant" else "symbol", text)
        if kind == "function":
            return self._call(text)
        if kind == "command":
            return self._command(text)
        if kind == "sign" and text in "({":
            tree = self._sum()
            self._expect(_CLOSING[text])
            return tree
        if kind == "sign" and text == "|":
            self._bars += 1
            tree = self._sum()
            self._expect("|")
            self._bars -= 1
            return ("call", "abs", tree)
        raise Unreadable(text or "the end")

    def _command(self, name: str) -> Tree:
        if name == "frac":
            top, bottom = self._two_arguments()
            return ("div", top, bottom)
        if name == "binom":
            return ("call", "binomial", *self._two_arguments())
        if name in ("lfloor", "lceil"):
            tree = self._sum()
            if self._next() != ("command", "rfloor" if name == "lfloor" else "rceil"):
                raise Unreadable(name)
            return ("call", "floor" if name == "lfloor" else "ceiling", tree)
        raise Unreadable(name)

    def _two_arguments(self) -> tuple[Tree, Tree]:
        kind, text = self._peek()
        if kind == "number":
            # \frac12 is one half; \frac123 would be three halves, which nobody means.
            if re.fullmatch(r"\d\d", text):
                self._at += 1
                return ("number", Fraction(text[0])), ("number", Fraction(text[1]))
            if re.fullmatch(r"\d", text):
                return self._atom(), self._argument()
            raise Unreadable(text)
        return self._argument(), self._argument()

    def _argument(self) -> Tree:
        """Return the argument of a LaTeX command: braces, or one digit or letter."""
        kind, text = self._peek()
        if (kind, text) == ("sign", "{") or kind in ("letters", "name", "constant"):
            return self._nested(self._atom)
        if kind == "number" and len(text) == 1:
            return self._nested(self._atom)
        if kind == "function" and text == "sqrt":
            return self._nested(self._atom)
        raise Unreadable(text)

    def _call(self, name: str) -> Tree:
        if name == "sqrt":
            return self._root()
        base: Tree | None = None
        power: Tree | None = None
        if self._take("_"):
            if name != "log":
                raise Unreadable(name)
            base = self._argument() if self._peek()[0] != "number" else self._atom()
        if self._take("^"):
            power = self._exponent()
        if self._peek() in (("sign", "("), ("sign", "{"), ("sign", "|")):
            arguments = [self._nested(self._atom)]
            if name == "binomial":
                arguments.append(self._nested(self._atom))
        elif name in ("exp", "abs", "floor", "ceiling", "factorial", "binomial"):
            raise Unreadable(name)
        else:
            arguments = [self._open_argument()]
        tree: Tree = ("call", name, *arguments)
        if base is not None:
            tree = ("div", ("call", "ln", *arguments), ("call", "ln", base))
        if power is None:
            return tree
        if power == ("neg", ("number", Fraction(1))):
            if name not in ("sin", "cos", "tan"):
                raise Unreadable(name)
            return ("call", f"a{name}", *arguments)
        return ("pow", tree, power)

    def _root(self) -> Tree:
        index: Tree | None = None
        if self._take("["):
            index = self._sum()
            self._expect("]")
        inside = self._nested(self._atom) if self._peek() == ("sign", "(") else self._argument()
        if index is None:
            return ("call", "sqrt", inside)
        return ("pow", inside, ("div", ("number", Fraction(1)), index))

    def _open_argument(self) -> Tree:
        r"""Return the argument of ``\sin 2x``: powers side by side, up to a sign or another function."""
        kind, _ = self._peek()
        if kind not in ("number", "letters", "name", "constant", "command"):
            raise Unreadable("no argument")
        tree = self._nested(self._power)
        while self._peek()[0] in ("letters", "name", "constant"):
            tree = ("mul", tree, self._nested(self._power))
        if self._peek() in (("sign", "("), ("sign", "/")):
            raise Unreadable("where does the argument end?")
        return tree


def _sum_or_product(whole: Tree, part: Tree) -> Tree:
    r"""Read ``2\frac{1}{2}`` as two and a half, and any other number before a fraction as a product."""
    match part:
        case ("div", ("number", top), ("number", bottom)) if (
            whole[1].denominator == top.denominator == bottom.denominator == 1 and 0 < top < bottom
        ):
            return ("add", whole, part)
    return ("mul", whole, part)
