"""Programs and tests that mean no harm: what passes, what is seen of them, and how their values cross."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thickets.tasks.sandbox.inside.guard import filter_program
from thickets.tasks.sandbox.inside.values import NotPlain, decode, encode
from thickets.tasks.sandbox.isolation import works
from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.pool import Job, run_all
from thickets.tasks.sandbox.run import Outcome, run_tests


@pytest.fixture(scope="module", params=["bubblewrap", "landlock", "limits"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    chosen: Isolation = request.param
    if not works(chosen):
        pytest.skip(f"{chosen} does not work on this machine")
    return chosen


def run(program: str, *tests: str, isolation: Isolation = "limits", setup: str = "") -> Outcome:
    return run_tests(program, tests, setup=setup, isolation=isolation)


def test_each_test_passes_or_fails_by_itself(isolation: Isolation) -> None:
    program = "def double(x):\n    return 2 * x\n"
    outcome = run(
        program, "assert double(2) == 4", "assert double(2) == 5", "assert double('a') == 'aa'", isolation=isolation
    )
    assert outcome.passed == (True, False, True)
    assert outcome.notes[1].startswith("AssertionError")


@pytest.mark.parametrize(
    "test",
    [
        "assert not f([])",
        "assert sorted(f([2, 1])) == [1, 2]",
        "assert math.isclose(g(2), math.sqrt(2))",
        "for n in range(3):\n    assert f([n]) == [n]",
        "def check(candidate):\n    assert candidate([1]) == [1]\ncheck(f)",
        "try:\n    f(None)\nexcept TypeError:\n    pass\nelse:\n    assert False",
        "assert f((1, 2)) == [1, 2] and f({3}) == [3]",
        "assert Pair(1, 2).first == 1",
        "assert total([Pair(1, 2), Pair(3, 4)]) == 4",
        "assert Pair(1, 2).swapped().first == 2",
        "assert list(h()) == [0, 1]",
        "assert WORD == 'word'",
        "assert keyed(value=3) == 3",
    ],
)
def test_tests_of_every_form_are_run(test: str) -> None:
    program = """
import math
WORD = "word"
class Pair:
    def __init__(self, first, second):
        self.first, self.second = first, second
    def swapped(self):
        return Pair(self.second, self.first)
def f(x): return list(x)
def g(x): return math.sqrt(x)
def h(): yield from range(2)
def keyed(value): return value
def total(pairs): return sum(pair.first for pair in pairs)
if __name__ == "__main__":
    raise SystemExit
"""
    outcome = run(program, test, setup="import math")
    assert outcome.passed == (True,), outcome.notes


def test_two_programs_that_do_the_same_are_seen_alike_and_others_are_not() -> None:
    tests = ("assert f(2) == 4", "assert f(3) == 9")
    square, power, double = ("def f(x):\n    return x * x", "f = lambda n: n ** 2", "def f(x): return x + x")
    seen = [run(program, *tests).behaviour for program in (square, power, double)]
    assert seen[0] == seen[1] != seen[2]
    assert None not in seen
    raised = [
        run(f"def f(x):\n    if x > 2: raise {kind}\n    return 4", *tests).behaviour
        for kind in ("ValueError('a')", "ValueError('b')", "KeyError(1)")
    ]
    assert raised[0] == raised[1] != raised[2]
    assert run("def f(x): return g(x)", *tests).behaviour is None
    assert run("raise ValueError", *tests).behaviour is None


def test_the_order_of_a_set_is_the_same_every_time() -> None:
    program = "def f(): return list({'alpha', 'beta', 'gamma', 'delta'})"
    assert len({run(program, "f()").behaviour for _ in range(4)}) == 1


def test_a_test_that_never_ends_is_failed_and_those_after_a_dead_program_too() -> None:
    outcome = run(
        "import os\ndef f(x):\n    if x == 1: os._exit(1)\n    return x",
        "assert f(0) == 0",
        "assert f(1)",
        "assert f(0) == 0",
    )
    assert outcome.passed == (True, False, False)
    assert outcome.notes[1:] == ("the program ended",) * 2


def test_the_same_job_is_run_once_and_outcomes_come_in_order(isolation: Isolation) -> None:
    jobs = [Job(f"def f(): return {n % 3}", ("assert f() == 1",)) for n in range(9)]
    assert [outcome.passed for outcome in run_all(jobs, isolation)] == [(n % 3 == 1,) for n in range(9)]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.frozensets(st.integers(), max_size=4)
    | st.sets(st.text(max_size=3), max_size=4)
    | st.dictionaries(st.integers() | st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_plain_values_cross_as_they_are(value: object) -> None:
    import json

    back = decode(json.loads(json.dumps(encode(value, _never))), _never)
    assert back == value
    assert type(back) is type(value)


def _never(*_: object) -> list[object]:
    raise AssertionError("not plain")


@pytest.mark.parametrize(
    "form", [["x"], ["i", 3], ["f", "no"], {"a": 1}, ["c", "0x1p0"], ["d", [[], 1]], ["b", "zz"], ["r"], 1.5]
)
def test_what_is_no_form_is_refused(form: object) -> None:
    with pytest.raises(NotPlain):
        decode(form, _never)


def test_not_a_number_crosses() -> None:
    assert math.isnan(decode(encode(math.nan, _never), _never))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_is_whole_instructions_that_end_in_allow(machine: str) -> None:
    content = filter_program(machine)
    assert len(content) % 8 == 0
    assert content[-4:] == (0x7FFF0000).to_bytes(4, "little")
    with pytest.raises(OSError, match="no list of system calls for sparc"):
        filter_program("sparc")
