"""Brings a tree of `reading` to one form with SymPy, and compares two; runs in the judging process only.

Built from the tree, never from text: SymPy's own parsers evaluate what they are given.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

import sympy
from math_verify import verify
from sympy.printing.str import StrPrinter

from thickets.tasks.verifiers.expressions.notation import MAX_LENGTH
from thickets.tasks.verifiers.expressions.reading import Tree, read
from thickets.tasks.verifiers.expressions.tokens import Unreadable

_MAX_BITS = 20_000  # of a power of numbers
_MAX_TERMS = 400  # of a product or power that is multiplied out
_MAX_DEGREE = 400

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}


class _Logarithm(sympy.Function):
    """A logarithm of an unknown base: 10 for some and e for others. Nothing follows from it."""


_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "sqrt": lambda x: _power(x, sympy.Rational(1, 2)),
    "exp": lambda x: _power(sympy.E, x),
    "ln": sympy.log,
    "log": _Logarithm,
    "abs": sympy.Abs,
    **{name: getattr(sympy, name) for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh")},
    **{name: getattr(sympy, name) for name in ("asin", "acos", "atan", "floor", "ceiling")},
}
_PLACES = (sympy.Rational(7, 5), sympy.Rational(23, 11), sympy.Rational(5, 13))
"""Where two expressions are compared by value before anything dearer."""


def form(text: str) -> str:
    """Return the one form of an expression; of ``=...``, that of the equation ``... = 0``.

    Raises:
        Unreadable: It is no expression, or too large a one.
    """
    if text.startswith("="):
        return _printed(_equation(_build(read(text[1:]))))
    return _printed(_canonical(_build(read(text))))


def equal(left: str, right: str) -> bool:
    """Return whether two expressions are surely equal, given in their forms."""
    a, b = _build(read(left)), _build(read(right))
    symbols = sorted(a.free_symbols | b.free_symbols, key=str)
    if a.free_symbols != b.free_symbols and not (a.free_symbols and b.free_symbols):
        return False
    if a == b:
        return True
    if a.has(_Logarithm) or b.has(_Logarithm):
        return False
    places = [{symbol: place + i for i, symbol in enumerate(symbols)} for place in _PLACES]
    if any(_are_close(a, b, place, digits=40) is False for place in places):
        return False
    if not symbols:
        return _are_close(a, b, {}, digits=200) is True
    # verify() rounds floats: there are none here. Its alarms are off: this process has a limit of its own.
    return bool(verify(a, b, timeout_seconds=None))


def _are_close(a: sympy.Expr, b: sympy.Expr, values: dict[sympy.Symbol, sympy.Expr], digits: int) -> bool | None:
    """Compare two expressions at a place, to three quarters of the digits; None if they have no value there."""
    left, right = (sympy.N(side.subs(values), digits) for side in (a, b))
    if not all(side.is_number and side.is_finite for side in (left, right)):
        return None
    size = max(abs(left), abs(right))
    return bool(abs(left - right) <= size * sympy.Rational(1, 10 ** (digits * 3 // 4)))


def _build(tree: Tree) -> sympy.Expr:  # noqa: PLR0911 - one per kind of node
    match tree:
        case ("number", value):
            return sympy.Rational(value.numerator, value.denominator)
        case ("symbol", name):
            return sympy.Symbol(name, real=True)
        case ("constant", name):
            return _CONSTANTS[name]
        case ("neg", inner):
            return -_build(inner)
        case ("add", left, right):
            return _sound(_build(left) + _build(right))
        case ("mul", left, right):
            return _sound(_multiplied([_build(left), _build(right)]))
        case ("div", left, right):
            below = _build(right)
            return _sound(_multiplied([_build(left), _power(below, sympy.Integer(-1))]))
        case ("pow", base, exponent):
            return _sound(_power(_build(base), _build(exponent)))
        case ("call", name, *arguments):
            return _sound(_called(name, [_build(argument) for argument in arguments]))
    raise Unreadable(str(tree)[:40])


def _sound(value: sympy.Expr) -> sympy.Expr:
    if value.has(sympy.nan, sympy.zoo):
        raise Unreadable("undefined")
    return value


def _multiplied(factors: list[sympy.Expr]) -> sympy.Expr:
    if reduce(operator.mul, (len(sympy.Add.make_args(factor)) for factor in factors)) > _MAX_TERMS:
        raise Unreadable("too many terms")
    return sympy.Mul(*factors)


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    """Raise to a power whose size has been seen to be small first."""
    if base.is_zero and not exponent.is_positive:
        raise Unreadable("undefined")
    if exponent.is_Integer:
        size = abs(int(exponent))
        terms = len(sympy.Add.make_args(base))
        if base.is_Rational and size * max(base.p.bit_length(), base.q.bit_length()) > _MAX_BITS:
            raise Unreadable("too large")
        if terms > 1 and (size > 50 or math.comb(size + terms - 1, terms - 1) > _MAX_TERMS):
            raise Unreadable("too many terms")
        if not base.is_Rational and size > _MAX_DEGREE:
            raise Unreadable("too high a degree")
    elif exponent.is_number:
        if not _is_small(exponent):
            raise Unreadable("too large")
        if base.is_Rational and max(base.p.bit_length(), base.q.bit_length()) > 120:
            raise Unreadable("a root of too large a number")
        if exponent.is_Rational and (exponent.q > 50 or (base.is_Rational and abs(exponent) > 60)):
            raise Unreadable("too large")
    return sympy.Pow(base, exponent)


def _is_small(number: sympy.Expr) -> bool:
    value = sympy.N(number, 5)
    return bool(value.is_number and abs(value) < 1_000)


def _called(name: str, arguments: list[sympy.Expr]) -> sympy.Expr:
    if name in ("factorial", "binomial"):
        if not all(argument.free_symbols or (argument.is_Integer and 0 <= argument <= 400) for argument in arguments):
            raise Unreadable(name)
        return getattr(sympy, name)(*arguments)
    [argument] = arguments
    if argument.has(sympy.oo):
        raise Unreadable("infinite")
    if (
        argument.is_number
        and argument.is_finite
        and name != "sqrt"
        and not _is_small(argument)
        and name not in ("ln", "log", "abs")
    ):
        raise Unreadable(name)
    return _FUNCTIONS[name](argument)


def _canonical(value: sympy.Expr) -> sympy.Expr:
    if value in (sympy.oo, -sympy.oo):
        return value
    if value.has(sympy.oo):
        raise Unreadable("infinite")
    if value.has(_Logarithm):
        # Another base multiplies each by one factor, which may cancel.
        factor = sympy.Symbol("base", positive=True)
        value_by_factor = sympy.cancel(value.replace(_Logarithm, lambda argument: factor * sympy.log(argument)))
        value = value if value_by_factor.has(factor) else value_by_factor
    value = _sound(sympy.expand(value, log=False))
    if value.is_Rational:
        return value
    if value.free_symbols:
        return _of_symbols(value)
    return _of_numbers(value)


def _of_numbers(value: sympy.Expr) -> sympy.Expr:
    """A constant: roots out of denominators and out of each other, logarithms of whole numbers split into primes."""
    if value.has(sympy.log):
        value = sympy.expand(sympy.expand_log(value, force=True).replace(sympy.log, _prime_logarithms))
        value = sympy.cancel(sympy.together(value)) if value.has(sympy.log) else value
    if _is_algebraic(value):
        value = sympy.sqrtdenest(sympy.expand(sympy.radsimp(value)))
        if (quadratic := _quadratic(value)) is not None:
            return quadratic
        value = sympy.expand(sympy.radsimp(value))
    elif value.has(sympy.sin, sympy.cos, sympy.tan, sympy.sinh, sympy.cosh):
        value = sympy.expand(sympy.trigsimp(value))
    return sympy.expand(value)


def _prime_logarithms(argument: sympy.Expr) -> sympy.Expr:
    if argument.is_Rational and argument.is_positive and max(argument.p, argument.q) < 10**12:
        primes = [*sympy.factorint(argument.p).items(), *((p, -n) for p, n in sympy.factorint(argument.q).items())]
        return sympy.Add(*(count * sympy.log(prime) for prime, count in primes))
    return sympy.log(argument)


def _is_algebraic(value: sympy.Expr) -> bool:
    return all(
        part.is_Rational or part is sympy.I or part.is_Add or part.is_Mul or (part.is_Pow and part.exp.is_Rational)
        for part in sympy.preorder_traversal(value)
    )


def _quadratic(value: sympy.Expr) -> sympy.Expr | None:
    """Write a real root of a quadratic equation as a + b sqrt(d), which is unique; None for what is none.

    Its equation is looked for only where roots stand in roots: `radsimp` has done the others.
    """
    nested = any(
        part.is_Pow and not part.exp.is_Integer and part.base.has(sympy.Pow) for part in sympy.preorder_traversal(value)
    )
    if not nested:
        return None
    x = sympy.Symbol("x")
    polynomial = sympy.minimal_polynomial(value, x, polys=True)
    if polynomial.degree() != 2:
        return None
    roots = sympy.roots(polynomial)
    return min(roots, key=lambda root: abs(sympy.N(root - value, 30)))


def _of_symbols(value: sympy.Expr) -> sympy.Expr:
    """An expression with variables: one fraction in lowest terms, both sides multiplied out."""
    if value.has(sympy.sin, sympy.cos, sympy.tan, sympy.sec, sympy.csc, sympy.cot):
        value = sympy.expand(sympy.trigsimp(value))
    value = sympy.powsimp(value) if value.has(sympy.exp) else value
    joined = sympy.together(value)
    _, below = sympy.fraction(joined)
    if below.is_number:
        return sympy.expand(value)
    try:
        return sympy.cancel(joined)
    except sympy.PolynomialError:
        return joined


def _equation(difference: sympy.Expr) -> sympy.Expr:
    """One side of an equation whose other is 0, less its denominators, its common factor and its sign."""
    top, _ = sympy.fraction(sympy.together(sympy.expand(difference)))
    top = sympy.expand(top)
    if not top.free_symbols:
        raise Unreadable("no equation")
    _, primitive = top.as_content_primitive()
    primitive = sympy.expand(primitive)
    leading = primitive.as_ordered_terms()[0]
    return -primitive if leading.could_extract_minus_sign() else primitive


class _Printer(StrPrinter):
    """Prints what `reading` reads again."""

    def _print_Exp1(self, expr: Any) -> str:
        return "e"

    def _print_ImaginaryUnit(self, expr: Any) -> str:
        return "i"

    def _print_exp(self, expr: Any) -> str:
        return f"exp({self._print(expr.args[0])})"

    def _print_log(self, expr: Any) -> str:
        return f"ln({self._print(expr.args[0])})"

    def _print__Logarithm(self, expr: Any) -> str:
        return f"log({self._print(expr.args[0])})"

    def _print_Abs(self, expr: Any) -> str:
        return f"abs({self._print(expr.args[0])})"


def _printed(value: sympy.Expr) -> str:
    text = _Printer().doprint(value).replace("**", "^")
    if len(text) > MAX_LENGTH:
        raise Unreadable("too long")
    return text
