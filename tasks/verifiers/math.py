"""Mathematical answers by value: numbers, expressions, sets, points, intervals, equations, words."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.expressions.answer import Answer, understand
from thickets.tasks.verifiers.expressions.find import marked, unmarked
from thickets.tasks.verifiers.expressions.notation import MAX_LENGTH
from thickets.tasks.verifiers.expressions.process import PROCESS
from thickets.tasks.verifiers.verifier import Verifier


def math_answer(text: str, expected_units: frozenset[str] = frozenset()) -> str | None:
    """Return the answer in a reply in its one form, or ``None``.

    Args:
        text: The reply.
        expected_units: Units of the gold answer: another one stays in the form, so that it is no right answer.
    """
    candidates = marked(text)
    return _first(unmarked(text) if candidates is None else candidates, expected_units)


def _first(candidates: Iterable[str], expected_units: frozenset[str]) -> str | None:
    found = next((answer for text in candidates if (answer := _understood(text, expected_units))), None)
    return found.text if found else None


def _understood(text: str, expected_units: frozenset[str]) -> Answer | None:
    return _cached(text, expected_units) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=20_000)
def _cached(text: str, expected_units: frozenset[str]) -> Answer | None:
    return understand(text, PROCESS.form, expected_units)


def _gold(text: str) -> Answer | None:
    """Understand a gold answer: all of it, or what is marked in a worked solution."""
    candidates = marked(text)
    answer = text if candidates is None else candidates[0] if candidates else ""
    found = _understood(answer, frozenset())
    return _understood(answer, found.units) if found and found.units else found


def _units(example: Example) -> frozenset[str]:
    golds = [gold for text in example.accepted if (gold := _gold(text))]
    return frozenset() if any(not gold.units for gold in golds) else frozenset().union(*(gold.units for gold in golds))


def _extract(text: str, example: Example) -> str | None:
    return math_answer(text, _units(example))


def _gold_form(example: Example) -> str | None:
    gold = _gold(example.answer)
    return gold.text if gold else None


def _judge(answer: str, example: Example) -> int:
    golds = [gold for text in example.accepted if (gold := _gold(text))]
    if any(answer == gold.text for gold in golds):
        return FULL
    mine = _understood(answer, _units(example))
    return FULL * (mine is not None and any(_same(mine, gold) for gold in golds))


def _same(mine: Answer, gold: Answer) -> bool:
    """Return whether two answers of different forms are equal after all, part by part."""
    if (mine.kind, mine.shape, len(mine.parts)) != (gold.kind, gold.shape, len(gold.parts)) or not gold.parts:
        return False
    if gold.kind != "set":
        return all(map(_equal, mine.parts, gold.parts))
    left = list(gold.parts)
    for part in mine.parts:
        match = next((other for other in left if _equal(part, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _equal(mine: str, gold: str) -> bool:
    if mine == gold:
        return True
    if _is_rational(mine) and _is_rational(gold):
        return False
    return PROCESS.equal(mine, gold)


def _is_rational(form: str) -> bool:
    return form.removeprefix("-").replace("/", "", 1).isdecimal()


def _installed(library: str) -> str | None:
    """Return a library's version; None where it is missing, as where a logged model answers that needs none of it."""
    try:
        return version(library)
    except PackageNotFoundError:
        return None


MATH = Verifier(
    name="math",
    instruction="{question}\n\nThink step by step. Put the final answer in \\boxed{}.",
    max_tokens=1024,
    extract=_extract,
    gold=_gold_form,
    gold_rule="it must be one expression, set, point, interval, equation or a few words",
    judge=_judge,
    # Other versions of the libraries may find other expressions equal.
    details={"math": 1, **{name: _installed(name) for name in ("sympy", "math-verify")}},
)
r"""The last ``\boxed{...}``, or the next surest sign, compared by value."""
