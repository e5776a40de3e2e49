"""Programs, judged by the tests of their question; ``problem.verifier: tests``.

A program's vote is what its tests saw it do, so that two programs written otherwise vote together where they return the
same values. Before it stands which tests passed: ``110:9f0c21aa03b1d3e7``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from thickets.storage.errors import InputError
from thickets.tasks.sandbox.isolation import strongest, works
from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.pool import Job, run_all
from thickets.tasks.sandbox.run import Outcome
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers.code import program_in
from thickets.tasks.verifiers.verifier import Verifier

Sandbox: TypeAlias = Literal["required", "weak"]

_VERSION = 2
_INSTRUCTION = "{question}\n\nWrite the function in Python, in one ```python block."
_SETUP_COLUMNS = ("test_setup_code", "test_imports")
_STRONG: tuple[Isolation, ...] = ("bubblewrap", "landlock")
_KEPT = 50_000


def isolation_of(sandbox: Sandbox) -> Isolation:
    """Return how programs are shut in on this machine.

    Raises:
        InputError: Nothing but limits is to be had, and `sandbox` is ``required``.
    """
    if sandbox == "weak":
        return strongest()
    for isolation in _STRONG:
        if works(isolation):
            return isolation
    raise InputError(
        "problem.sandbox is 'required', but on this machine the programs of a model could only be limited in time and "
        "memory; install bubblewrap (Linux), run where the kernel has Landlock (5.13 and later), or set "
        "problem.sandbox: weak, which lets them read your files and use the network"
    )


def program_verifier(column: str, sandbox: Sandbox, right_at: float = 1.0) -> Verifier:
    """Make a verifier that runs a reply's program on the tests of its question.

    Args:
        column: The column of the data with the tests: a list of texts, or one text.
        sandbox: ``required``, or ``weak``: run them where they can only be limited, too.
        right_at: Share of the tests from which on an answer is right.
    """

    def extract(text: str, example: Example) -> str | None:
        return extract_all([text], [example])[0]

    def extract_all(texts: Sequence[str], examples: Sequence[Example]) -> list[str | None]:
        programs = [program_in(text) for text in texts]
        return _judged([_job(p, e) for p, e in zip(programs, examples, strict=True)], isolation_of(sandbox))

    def gold(example: Example) -> str | None:
        [answer] = _judged([_job(program_in(example.answer) or example.answer, example)], isolation_of(sandbox))
        return answer if answer is not None and _share(answer) == FULL else None

    def _job(program: str | None, example: Example) -> Job | None:
        return None if program is None else Job(program, tests_of(example, column), _setup_of(example))

    return Verifier(
        name="tests",
        instruction=_INSTRUCTION,
        max_tokens=512,
        extract=extract,
        extract_all=extract_all,
        gold=gold,
        gold_rule=f"it must be a program that passes every test of column {column!r}",
        judge=lambda answer, example: _share(answer),
        right_at=round(FULL * right_at),
        uses_columns=True,
        details={"tests": _VERSION, "column": column, "right_at": round(FULL * right_at)},
    )


def tests_of(example: Example, column: str) -> tuple[str, ...]:
    """Return the tests of a question.

    Raises:
        InputError: The column is missing, or holds no texts.
    """
    found: Any = example.metadata.get(column)
    tests = (found,) if isinstance(found, str) else tuple(found) if isinstance(found, (list, tuple)) else ()
    if not tests or not all(isinstance(test, str) and test.strip() for test in tests):
        raise InputError(
            f"problem.tests_column is {column!r}; for example {example.id} it holds {_shown(found)}, and must hold "
            "a list of Python statements, or one"
        )
    return tests


def _setup_of(example: Example) -> str:
    parts = [example.metadata.get(name) for name in _SETUP_COLUMNS]
    lines = [line for part in parts for line in ([part] if isinstance(part, str) else part or [])]
    return "\n".join(map(str, lines))


def _judged(jobs: Sequence[Job | None], isolation: Isolation) -> list[str | None]:
    wanted = [job for job in jobs if job is not None]
    outcomes = iter(_outcomes(wanted, isolation))
    return [None if job is None else _answer(next(outcomes)) for job in jobs]


def _outcomes(jobs: Sequence[Job], isolation: Isolation) -> list[Outcome]:
    """Run the jobs that were not run lately: candidates give the same program again and again."""
    known = _known(isolation)  # which other threads use as well
    different = dict.fromkeys(jobs)
    found = {job: outcome for job in different if (outcome := known.get(job)) is not None}
    new = [job for job in different if job not in found]
    made = dict(zip(new, run_all(new, isolation), strict=True))
    if len(known) + len(made) > _KEPT:
        known.clear()
    known.update(made)
    found |= made
    return [found[job] for job in jobs]


@lru_cache
def _known(isolation: Isolation) -> dict[Job, Outcome]:
    return {}


def _answer(outcome: Outcome) -> str | None:
    """Return the vote; a program that never gave a value has none."""
    if outcome.behaviour is None:
        return None
    return f"{''.join(str(int(passed)) for passed in outcome.passed)}:{outcome.behaviour}"


def share_in_words(answer: str) -> str:
    """Return what a vote says of a program's tests."""
    passed = answer.partition(":")[0]
    return f"{passed.count('1')} of {len(passed)} tests passed"


def _share(answer: str) -> int:
    """Return the share of tests that passed, rounded down to thousandths."""
    passed = answer.partition(":")[0]
    return FULL * passed.count("1") // len(passed) if passed else 0


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:60]
