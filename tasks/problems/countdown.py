"""Countdown: reach a number with a few given ones and the four operations; generated so that it can be, or from data.

Sample (numbers=3, largest=20, largest_target=100):

    user:      Reach 39 with the numbers 3, 7 and 18. Use +, -, * and /, and each number at most once. End with the
               expression in <answer> tags.
    assistant: 7 * 3 is 21, and 18 more are 39. <answer>3 * 7 + 18</answer>

Source: our own questions, of the kind of the paper's Countdown (numbers game of television; public domain). ``path``
reads others: rows with ``nums`` or ``numbers`` and ``target``, as hf:Jiayi-Pan/Countdown-Tasks-3to4 has them. The rows
that a run draws are solved by search, and one that cannot be solved is refused.

An expression is read by a grammar, never run: whole numbers, brackets, + - * / in their usual spellings, exact
fractions. "= 39" behind it or before it is read over; a chain of equations abstains. Its vote is what it comes to, and
whether it uses the given numbers alone, each at most once: "39 valid". So expressions that differ vote together where
they reach the same number, and the vote of the ensemble says what can be reached rather than how.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property

from thickets.storage.errors import InputError
from thickets.tasks.datafiles import Source
from thickets.tasks.problems.base import Option, prompt
from thickets.tasks.problems.config import ProblemConfig
from thickets.tasks.problems.countdown_data import Row, TooHard, read_countdown, solve
from thickets.tasks.problems.kind import Kind
from thickets.tasks.problems.options import whole_number, with_defaults
from thickets.tasks.types import FULL, JSON, Example, Message, Sampling, question_id
from thickets.tasks.verifiers.expressions.reading import Tree, rational, read
from thickets.tasks.verifiers.expressions.tokens import Unreadable
from thickets.tasks.verifiers.marks import find_mark

INSTRUCTION = "{question} End with the expression in <answer> tags."
_VERSION = 1
OPTIONS = (
    Option("numbers", 3, "Numbers in a question, 2 to 8."),
    Option("largest", 20, "The numbers are distinct, from 1 to this one."),
    Option("largest_target", 100, "What is to be reached is at least 10 and at most this."),
)
_BOUNDS = {"numbers": (2, 8), "largest": (8, 1000), "largest_target": (10, 100_000)}
_LEAST_TARGET = 10
_TRIES = 200  # for each question that is still missing

_SPELLINGS = {
    **dict.fromkeys((r"\times", r"\cdot", "×", "·", "∗", "⋅"), "*"),
    **dict.fromkeys((r"\div", "÷", "∕"), "/"),
    **dict.fromkeys(("−", "–"), "-"),
    **dict.fromkeys((r"\left", r"\right", "$", "`"), ""),
}
_SPELLING = re.compile("|".join(map(re.escape, sorted(_SPELLINGS, key=len, reverse=True))))
_SIDE = re.compile(
    r"(?P<before>\s*|[^\d+*/^]*(?:[^\W\d_]{2}|:)[\s:,]+)(?P<run>[\d\s()+*/-]*\d[\d\s()+*/-]*)(?P<behind>[,;.!]?|[\s,;.]+[^\d+*/^]+)"
)
_OPERATION = re.compile(r"\d[\s)]*[-+*/]")
_TWO_NUMBERS = re.compile(r"\d\s+\d")
_LONGEST = 500


class Countdown:
    """Reach a number with given numbers.

    Raises:
        InputError: An option is unknown or out of range.
    """

    name = "countdown"
    summary = "Generated, or from data: reach a number with a few others and + - * /; as hard as its options say."
    sampling = Sampling(max_tokens=256)
    right_at = FULL

    def __init__(self, config: ProblemConfig) -> None:
        self.instruction = config.instruction or INSTRUCTION
        self._system, self._config = config.system, config
        options = with_defaults(self.name, OPTIONS, config.options)
        self._options = {name: whole_number(options, name, *_BOUNDS[name]) for name in options}
        if self._options["largest"] < self._options["numbers"]:
            raise InputError("problem.options.largest is less than numbers; there are not so many distinct ones")

    def identity(self) -> dict[str, JSON]:
        """Return the template, and the options: every number follows from them and the seed; the splits hash data."""
        options = self._options if self._config.path is None else {"questions": "data"}
        return {**self.judgement(), **options, "instruction": self.instruction, "system": self._system}

    def judgement(self) -> dict[str, JSON]:
        """Return the version of the reading."""
        return {"name": self.name, "version": _VERSION}

    def examples(self, count: int, seed: int) -> list[Example]:
        """Make or draw ``count`` distinct questions; a larger count starts with the questions of a smaller one.

        Raises:
            InputError: The options do not make so many; the data cannot be read, or a row that is drawn not be solved.
        """
        if self._config.path is not None:
            return self._drawn(count, seed)
        found: dict[str, Example] = {}
        for step in range(_TRIES * count + _TRIES):
            if len(found) == count:
                break
            if (example := self._made(_Draws(f"countdown:{seed}:{step}"))) is not None:
                found.setdefault(example.id, example)
        if len(found) < count:
            raise InputError(
                f"problem.options {', '.join(f'{name}={value}' for name, value in self._options.items())} make about "
                f"{len(found)} distinct questions, {count} are needed; raise largest, numbers or largest_target"
            )
        return list(found.values())

    def test_examples(self) -> list[Example] | None:
        """Return every row of ``problem.test_path``, or None: any question can be held out.

        Raises:
            InputError: The data cannot be read, or a row cannot be solved.
        """
        return None if self._official is None else [self._of_row(*each) for each in self._official.values()]

    def messages(self, example: Example) -> list[Message]:
        """Return the question in the template."""
        return prompt(self.instruction, self._system, example.question)

    def extract(self, text: str, example: Example) -> str | None:
        """Return what the reply's expression comes to, and whether it keeps to the rules: ``39 valid``."""
        expression = _expression_in(text)
        if expression is None or _TWO_NUMBERS.search(expression):
            return None
        try:
            tree = read(expression)
            used = Counter(_numbers(tree))
        except (Unreadable, RecursionError):
            return None
        value = rational(tree)
        if value is None:
            return None
        is_valid = used <= Counter(map(Fraction, example.metadata["numbers"]))
        return f"{value} {'valid' if is_valid else 'invalid'}"

    def score(self, answer: str, example: Example) -> int:
        """Return full marks for a valid expression of what is to be reached."""
        return FULL * (answer == f"{example.metadata['target']} valid")

    def lenient(self, text: str, example: Example) -> None:
        """Return None: an expression in any form is read already."""
        return

    def _made(self, draws: _Draws) -> Example | None:
        numbers: list[int] = []
        while len(numbers) < self._options["numbers"]:
            number = 1 + draws.below(self._options["largest"])
            if number not in numbers:
                numbers.append(number)
        made = _combined(numbers, draws)
        if made is None or not _LEAST_TARGET <= made[0] <= self._options["largest_target"] or made[0] in numbers:
            return None
        target, solution = made
        return _example(None, numbers, target, solution)

    def _drawn(self, count: int, seed: int) -> list[Example]:
        """Draw rows; the others are not solved, which would take minutes for a large file."""
        held_out = self._official or {}
        rows = [each for question, each in self._pool.items() if question not in held_out]
        # By hash, as splits are drawn: the order of the file does not count.
        rows.sort(key=lambda each: hashlib.blake2b(f"{seed}:{each[1].numbers}:{each[1].target}".encode()).digest())
        return [self._of_row(*each) for each in rows[:count]]

    def _of_row(self, source: Source, row: Row) -> Example:
        try:
            solution = solve(row.numbers, row.target)
        except TooHard:
            raise source.error(
                "no solution was found within the steps of a search; take the row out", row.place
            ) from None
        if solution is None:
            raise source.error(
                f"{row.target} cannot be reached with {', '.join(map(str, row.numbers))}; take the row out", row.place
            )
        return _example(row.id, list(row.numbers), row.target, solution)

    @cached_property
    def _pool(self) -> dict[str, tuple[Source, Row]]:
        assert self._config.path is not None
        return self._rows("problem.path", self._config.path, "train")

    @cached_property
    def _official(self) -> dict[str, tuple[Source, Row]] | None:
        location = self._config.test_path
        return None if location is None else self._rows("problem.test_path", location, "test")

    def _rows(self, field: str, location: str, split: str) -> dict[str, tuple[Source, Row]]:
        """Read rows by their question; of two that ask the same the first stays."""
        source = Source(field, location, split, self._config.id_column, question_column="nums", answer_column="target")
        found: dict[str, tuple[Source, Row]] = {}
        for row in read_countdown(source):
            found.setdefault(_question(row.numbers, row.target), (source, row))
        return found


def _question(numbers: Sequence[int], target: int) -> str:
    listed = ", ".join(map(str, numbers[:-1]))
    return (
        f"Reach {target} with the numbers {listed} and {numbers[-1]}. Use +, -, * and /, and each number at most once."
    )


def _example(name: str | None, numbers: list[int], target: int, solution: str) -> Example:
    question = _question(numbers, target)
    return Example(name or question_id(question), question, solution, {"numbers": numbers, "target": target})


class _Draws:
    """Whole numbers that follow from a name alone; not random.Random, whose draws may depend on Python's version."""

    def __init__(self, name: str) -> None:
        self._name, self._n = name, 0

    def below(self, end: int) -> int:
        self._n += 1
        digest = hashlib.blake2b(f"{self._name}:{self._n}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % end


def _combined(numbers: list[int], draws: _Draws) -> tuple[int, str] | None:
    """Join numbers by operations drawn at random, to one; None where one of them leaves the positive whole numbers."""
    left = [(number, str(number)) for number in numbers]
    while len(left) > 1:
        (a, first), (b, second) = (left.pop(draws.below(len(left))) for _ in range(2))
        sign = "+-*/"[draws.below(4)]
        if sign == "+":
            value = a + b
        elif sign == "-":
            value = a - b
        elif sign == "*":
            value = a * b
        else:
            value = a // b if a % b == 0 else 0
        if value <= 0:
            return None
        left.append((value, f"({first} {sign} {second})"))
    value, expression = left[0]
    return value, expression[1:-1]


def _expression_in(text: str) -> str | None:
    """Return the expression that a reply marks, else that of its last line with one."""
    mark = find_mark(text)
    if mark is not None:
        return _one_side(text[mark.start : min(mark.end, mark.start + _LONGEST)])
    for line in reversed(text[-20 * _LONGEST :].splitlines()):
        if _OPERATION.search(_spelled(line)):
            return _one_side(line)
    return None


def _one_side(line: str) -> str | None:
    """Return the expression of a line, or of an equation the side that is one."""
    sides = _spelled(line.strip(" *_").rstrip(".!")).split("=")
    if any(len(side) > _LONGEST for side in sides):
        return None
    # Words may stand before the first side and behind the last, but nothing that would change an expression.
    found = [match for side in sides if (match := _SIDE.fullmatch(side)) is not None]
    if len(found) < len(sides):
        return None
    if any(each["before"].strip() for each in found[1:]) or any(each["behind"] for each in found[:-1]):
        return None
    runs = [each["run"].strip() for each in found]
    expressions = [run for run in runs if _OPERATION.search(run)]
    if not expressions and len(runs) == 1:
        return runs[0]  # a number by itself
    return expressions[0] if len(expressions) == 1 else None


def _spelled(text: str) -> str:
    return _SPELLING.sub(lambda found: _SPELLINGS[found[0]], text)


def _numbers(tree: Tree) -> Iterator[Fraction]:
    """Yield the numbers of an expression of the four operations.

    Raises:
        Unreadable: It is of others as well.
    """
    match tree:
        case ("number", value):
            yield value
        case ("neg", inner):
            yield from _numbers(inner)
        case ("add" | "mul" | "div", left, right):
            yield from _numbers(left)
            yield from _numbers(right)
        case _:
            raise Unreadable("another operation")


KIND = Kind(
    name=Countdown.name,
    summary=Countdown.summary,
    make=Countdown,
    origin="our own questions, or data of that form",
    fields=("options", "path", "test_path", "id_column"),
    makes_questions=True,
    options=lambda: OPTIONS,
)
