r"""Takes inequalities apart: ``2 \le x < 5`` is what lies between two bounds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from thickets.tasks.verifiers.expressions.tokens import Unreadable

RELATION = re.compile(r"(\\le(?![a-z])|\\ge(?![a-z])|\\approx|\\in(?![a-z])|<=|>=|=|<|>)")


def bounds(sides: Sequence[str]) -> tuple[str, str, str]:
    """Return the lower and the upper bound of an inequality, and the brackets of its interval.

    Args:
        sides: Terms and the signs between them, in turn.

    Raises:
        Unreadable: It is none about one variable.
    """
    signs = [{r"\le": "<=", r"\ge": ">="}.get(sign, sign) for sign in sides[1::2]]
    terms = list(sides[::2])
    if not (set(signs) <= {"<", "<="} or set(signs) <= {">", ">="}) or len(terms) > 3:
        raise Unreadable("no interval")
    if signs[0].startswith(">"):
        terms, signs = terms[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    if len(terms) == 2:
        if re.fullmatch(r"\\?[A-Za-z]+", terms[0]):
            terms, signs = ["-oo", *terms], ["<", *signs]
        else:
            terms, signs = [*terms, "oo"], [*signs, "<"]
    if not re.fullmatch(r"\\?[A-Za-z]+", terms[1]) or re.fullmatch(r"[A-Za-z]", terms[0] + terms[2]):
        raise Unreadable("no interval")
    return terms[0], terms[2], ("[" if signs[0] == "<=" else "(") + ("]" if signs[1] == "<=" else ")")
