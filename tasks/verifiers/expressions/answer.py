r"""Brings a mathematical answer to its one form: numbers, expressions, sets, tuples, intervals, equations, words.

The form of ``\{2, \tfrac12\}`` is ``{1/2, 2}``: a set is sorted, a point is not. Forms read back as themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Literal

from thickets.tasks.verifiers.expressions.brackets import OPENING, encloses, split
from thickets.tasks.verifiers.expressions.notation import (
    MAX_LENGTH,
    ROW_END,
    SET_CLOSE,
    SET_OPEN,
    plain,
)
from thickets.tasks.verifiers.expressions.reading import rational, read
from thickets.tasks.verifiers.expressions.relations import RELATION, bounds
from thickets.tasks.verifiers.expressions.tokens import Unreadable
from thickets.tasks.verifiers.expressions.units import without_unit
from thickets.tasks.verifiers.expressions.words import OR, PHRASE, QUOTED, clock, phrase

Kind = Literal["value", "set", "tuple", "interval", "union", "matrix", "equation", "named", "words"]

_MAX_PARTS = 60
_MATRIX = re.compile(r"\\begin\s*\{([pb]?matrix)\}(.*)\\end\s*\{\1\}", re.DOTALL)
_NAME = re.compile(r"\\?[A-Za-z]+(?:\s*_\s*\{?\w{1,10}\}?)?(?:\s*\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])*\s*\))?")
_POINT = re.compile(r"\(\s*[a-z](?:\s*,\s*[a-z])+\s*\)")
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d,])")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in its one form.

    Attributes:
        kind: What it is; two kinds are never equal.
        text: The form, which is the vote.
        parts: The forms of its elements, in the order of the form; of a value itself.
        shape: What must be equal besides the parts: the brackets of an interval, the rows of a matrix, the names.
        units: Of the parts that had one, whether it is kept in the text or not.
    """

    kind: Kind
    text: str
    parts: tuple[str, ...]
    shape: str = ""
    units: frozenset[str] = frozenset()


def understand(
    text: str, simplify: Callable[[str], str | None], expected_units: Set[str] = frozenset()
) -> Answer | None:
    """Return an answer in its one form; ``None`` if it cannot be read as one.

    Args:
        text: One answer: LaTeX, plain mathematics, or up to five words.
        simplify: Brings an expression in the signs of `notation.plain` that is no rational number to its one form.
        expected_units: Units of the gold answer. A unit is dropped, unless it contradicts these.
    """
    reader = _Reader(simplify, expected_units)
    signs = plain(text)
    if signs is None:
        return None
    try:
        return reader.answer(_trimmed(signs))
    except (Unreadable, RecursionError):
        return None


class _Reader:
    """Takes the structure of an answer apart; `reading` and `simplify` see its expressions alone."""

    def __init__(self, simplify: Callable[[str], str | None], expected_units: Set[str]) -> None:
        self._simplify = simplify
        self._expected = expected_units
        self._units: set[str] = set()

    def answer(self, text: str) -> Answer:
        if not text:
            raise Unreadable("nothing")
        if quoted := QUOTED.fullmatch(text):
            return self.answer(_trimmed(quoted[1]))
        if (form := phrase(text) or clock(text)) is not None:
            return self._made("words", form, (form,))
        for attempt in (
            self._matrix,
            self._union,
            self._bracketed,
            self._list,
            self._relation,
        ):
            if (found := attempt(text)) is not None:
                return found
        return self._one("value", text)

    def _made(self, kind: Kind, text: str, parts: tuple[str, ...], shape: str = "") -> Answer:
        if len(text) > MAX_LENGTH:  # a form that could not be read again
            raise Unreadable("too long")
        return Answer(kind, text, parts, shape, frozenset(self._units))

    def _one(self, kind: Kind, text: str) -> Answer:
        value = self._value(text)
        return self._made(kind, value, (value,))

    def _matrix(self, text: str) -> Answer | None:
        found = _MATRIX.fullmatch(text)
        if found is None:
            return None
        lines = [line for line in found[2].split(ROW_END) if line.strip()]
        rows = [[self._value(cell) for cell in line.split("&")] for line in lines]
        parts = tuple(cell for row in rows for cell in row)
        if not rows or len({len(row) for row in rows}) != 1 or len(parts) > _MAX_PARTS:
            raise Unreadable("no matrix")
        form = "[" + ", ".join("[" + ", ".join(row) + "]" for row in rows) + "]"
        return self._made("matrix", form, parts, f"{len(rows)}x{len(rows[0])}")

    def _union(self, text: str) -> Answer | None:
        pieces = split(text, r"\cup", "∪")
        if len(pieces) == 1:
            pieces = re.split(r"(?<=[)\]])\s*U\s*(?=[(\[])", text)
        if len(pieces) == 1:
            return None
        answers = [self.answer(piece.strip()) for piece in pieces]
        if any(answer.kind not in ("interval", "tuple", "set") or answer.text[0] not in OPENING for answer in answers):
            raise Unreadable("no sets")
        return self._united(answers)

    def _united(self, answers: list[Answer]) -> Answer:
        answers = sorted({answer.text: answer for answer in answers}.values(), key=lambda one: _order(one.parts[0]))
        if len(answers) == 1:
            return answers[0]
        return self._made(
            "union",
            " U ".join(answer.text for answer in answers),
            tuple(part for answer in answers for part in answer.parts),
            " ".join(f"{answer.shape}{len(answer.parts)}" for answer in answers),
        )

    def _bracketed(self, text: str) -> Answer | None:  # noqa: PLR0911 - one per kind of bracket
        if re.fullmatch(rf"\\emptyset|{SET_OPEN}\s*{SET_CLOSE}|\{{\s*\}}", text):
            return self._made("set", "{}", ())
        if re.fullmatch(r"\\mathbb\s*\{\s*R\s*\}", text):
            return self._made("interval", "(-oo, oo)", ("-oo", "oo"), "()")
        if not encloses(text):
            return None
        first, last = text[0], text[-1]
        items = [item.strip() for item in split(text[1:-1], ",", ";")]
        if first == SET_OPEN or (first == "{" and len(items) > 1):
            return self._set(items, distinct=True)
        if len(items) < 2 or first == "{":
            return None
        if len(items) > _MAX_PARTS:
            raise Unreadable("too many")
        if first == "[" and all(item.startswith("[") and encloses(item) for item in items):
            rows = (f"{' & '.join(split(item[1:-1], ','))}" for item in items)
            return self._matrix(rf"\begin{{matrix}}{ROW_END.join(rows)}\end{{matrix}}")  # its one form
        parts = tuple(self._value(item) for item in items)
        inside = ", ".join(parts)
        if first == "(" and last == ")":
            return self._made("tuple", f"({inside})", parts, "()")
        if len(parts) == 2 or (first == "[" and last == "]"):
            return self._made("interval", f"{first}{inside}{last}", parts, first + last)
        raise Unreadable(text)

    def _set(self, items: list[str], *, distinct: bool) -> Answer:
        if len(items) > _MAX_PARTS:
            raise Unreadable("too many")
        parts = [value for item in items for value in self._elements(item)]
        if len(self._units) > 1:
            raise Unreadable("5 feet 3 inches, or 5 apples and 3 pears")
        parts = sorted(dict.fromkeys(parts) if distinct else parts, key=_order)
        if len(parts) == 1:
            return self._made("value", parts[0], tuple(parts))  # a set of one is its element
        if len(set(parts)) < len(parts):
            return self._made("named", ", ".join(parts), tuple(parts), "list")
        return self._made("set", "{" + ", ".join(parts) + "}", tuple(parts))

    def _list(self, text: str) -> Answer | None:
        """Several answers side by side, in any order: ``2, 3``, ``2 or 3``, ``x = 2 and y = 3``."""
        protected = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
        if protected != text:
            return self.answer(protected)
        items = [item.strip() for piece in split(text, ",", ";") for item in OR.split(piece) if item.strip()]
        if not items:
            raise Unreadable("nothing")
        if len(items) == 1:
            if r"\pm" in text and not RELATION.search(text):
                return self._set(items, distinct=True)
            return None
        relations = [RELATION.split(item) for item in items]
        if any(len(relation) > 1 and relation[1] != "=" for relation in relations):
            answers = [self.answer(item) for item in items]  # x < 1 or x > 3
            if " or " in QUOTED.sub(r" \1 ", text) and all(one.kind == "interval" for one in answers):
                return self._united(answers)
            raise Unreadable("conditions")
        names = [relation[0].strip() if len(relation) == 3 else None for relation in relations]
        if all(names) and len(set(names)) == len(names):
            return self._assignments(names, [relation[-1] for relation in relations])  # type: ignore[arg-type]
        if len({name for name in names if name}) > 1:
            raise Unreadable("several names")
        return self._set([relation[-1] for relation in relations], distinct=False)

    def _assignments(self, names: list[str], values: list[str]) -> Answer:
        if not all(_NAME.fullmatch(name) for name in names):
            raise Unreadable("equations")
        pairs = sorted(zip(names, (self._value(value) for value in values), strict=True))
        form = ", ".join(f"{name} = {value}" for name, value in pairs)
        return self._made("named", form, tuple(value for _, value in pairs), " ".join(name for name, _ in pairs))

    def _relation(self, text: str) -> Answer | None:
        sides = [side.strip() for side in RELATION.split(text)]
        if len(sides) == 1:
            return None
        while len(sides) > 2 and sides[-2] == r"\approx" and not _NAME.fullmatch(sides[-3]):
            sides = sides[:-2]  # what it is about is said more exactly before
        if len(sides) == 1:
            return self.answer(sides[0])
        signs = set(sides[1::2])
        if signs <= {"=", r"\approx"}:
            return self._equation(sides[::2])
        if signs == {r"\in"} and len(sides) == 3 and _NAME.fullmatch(sides[0]):
            return self.answer(sides[2])
        return self._inequality(sides)

    def _equation(self, sides: list[str]) -> Answer:
        *left, last = (QUOTED.sub(r"\1", side).strip() for side in sides)
        name = left[0]
        if _NAME.fullmatch(name) or PHRASE.fullmatch(name) or (_POINT.fullmatch(name) and encloses(last)):
            if _NAME.fullmatch(last) and len(left) == 1 and len(name) > 1 and len(last) == 1:
                raise Unreadable("which is the value?")
            return self.answer(sides[-1])
        if len(left) == 1 and re.fullmatch(r"[A-Za-z]", last) and _is_number(name):
            return self.answer(name)  # 4 = x
        if all(_is_number(side) for side in (*left, last)):
            return self.answer(last)  # 2 + 2 = 4
        if len(left) > 1:
            raise Unreadable("a chain of equations")
        form = self._simplify(f"=({name})-({last})")
        if form is None:
            raise Unreadable(name)
        if re.fullmatch(r"[A-Za-z]", form):
            return self._made("value", "0", ("0",))
        return self._made("equation", f"{form} = 0", (form,))

    def _inequality(self, sides: list[str]) -> Answer:
        """Read ``2 <= x < 5`` as the interval."""
        bottom, top, brackets = bounds(sides)
        low, high = self._value(bottom), self._value(top)
        # An open interval is written like a point, which is what it may be.
        kind: Kind = "tuple" if brackets == "()" else "interval"
        return self._made(kind, f"{brackets[0]}{low}, {high}{brackets[1]}", (low, high), brackets)

    def _elements(self, text: str) -> list[str]:
        """The forms of one element of a set, two for one with a plus-minus; it may be a point, an interval or words."""
        if encloses(text) and text[0] in "([" and len(split(text[1:-1], ",")) > 1:
            return [self.answer(text).text]
        if " " not in text and (word := phrase(text)) is not None:
            return [word]
        return self._plus_minus(text)

    def _plus_minus(self, text: str) -> list[str]:
        if text.count(r"\pm") > 1:
            raise Unreadable("two signs")
        if r"\pm" not in text:
            return [self._value(text)]
        return [self._value(text.replace(r"\pm", sign)) for sign in "+-"]

    def _value(self, text: str) -> str:
        """Return the form of an expression, its unit dropped unless it contradicts the expected one."""
        text, unit = without_unit(_trimmed(text))
        if not text:
            raise Unreadable("nothing")
        quoted = QUOTED.fullmatch(text)
        value = self._expression(quoted[1] if quoted else text)
        if unit is None:
            return value
        self._units.add(unit)
        if self._expected:
            return value if unit in self._expected else f"{value} {unit}"
        # 50% may be what is asked for as 50; half a percent is not one half.
        return f"{value} %" if unit == "%" and abs(_order(value)[1]) <= 1 else value

    def _expression(self, text: str) -> str:
        number = rational(read(text))
        if number is not None:
            return str(number)
        form = self._simplify(text)
        if form is None:
            raise Unreadable(text)
        return form


def _trimmed(text: str) -> str:
    text = text.strip().strip("`").strip()
    # A sign after a word is an exclamation, any other a factorial; dots that go on leave the value open.
    while text.endswith((".", ",", ";")) or re.search(r"[A-Za-z]{2}!$", text):
        if text.endswith(".."):
            break
        text = text[:-1].rstrip()
    return text


def _is_number(text: str) -> bool:
    try:
        return rational(read(text)) is not None
    except Unreadable:
        return False


def _order(form: str) -> tuple[int, float, str]:
    """Sort numbers by value, and after them the other forms by text."""
    if re.fullmatch(r"-?\d+(/\d+)?", form) and len(form) < 200:
        top, _, bottom = form.partition("/")
        return 0, int(top) / int(bottom or 1), form
    if form in ("-oo", "oo"):
        return (-1 if form == "-oo" else 2), 0.0, form
    return 1, 0.0, form
