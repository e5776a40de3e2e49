"""Programs and tests that mean no harm: what passes, what is seen of them, and how their values cross."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.isolations import ISOLATIONS, usable
from thickets.tasks.sandbox.inside.guard import filter_program
from thickets.tasks.sandbox.inside.values import NotPlain, Shared, change, contents, decode, decode_shared, encode
from thickets.tasks.sandbox.launch import Isolation
from thickets.tasks.sandbox.pool import Job, run_all
from thickets.tasks.sandbox.run import Outcome, run_tests


@pytest.fixture(scope="module", params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    return usable(request.param)


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


MUTATES = """
def sort(x): x.sort()
def sort_and_return(x):
    x.sort()
    return x
def rotate(rows): rows.append(rows.pop(0))
def clean(d):
    for key in [key for key, value in d.items() if value is None]: del d[key]
def both(x, y): x.append(1); y.append(len(x))
def grow(s): s |= {7}
def fill(x): x.append([len(x)])
def fails(x):
    x.append(1)
    raise ValueError
class Bag:
    def take(self, x): self.x = x.pop()
"""


@pytest.mark.parametrize(
    "test",
    [
        "x = [3, 1]\nsort(x)\nassert x == [1, 3]",
        "x = [3, 1]\nsort_and_return(x)\nassert x == [1, 3]",
        "x = [3, 1]\nkept = x\nsort(x=x)\nassert kept is x and kept == [1, 3]",
        "a, b = [1], [2]\nrows = [a, b]\nrotate(rows)\nassert rows[0] is b and rows[1] is a",
        "d = {'a': None, 'b': 1}\nclean(d)\nassert d == {'b': 1}",
        "x = []\nboth(x, x)\nassert x == [1, 1]",
        "x, y = [], []\nboth(x, y)\nassert (x, y) == ([1], [1])",
        "s = {1}\ngrow(s)\nassert s == {1, 7}",
        "x = []\nfor n in range(3):\n    fill(x)\nassert x == [[0], [1], [2]]",
        "x = [3, 1]\ndef check(candidate):\n    candidate(x)\n    assert x == [1, 3]\ncheck(sort)",
        "x = [1, 2]\nbag = Bag()\nbag.take(x)\nassert x == [1] and bag.x == 2",
        "x = [3, 1]\nassert sort(x) is None and x == [3, 1]",
        "x = [3, 1]\nassert sort_and_return(x) == [1, 3] and x == [3, 1]",
        "x = []\ntry:\n    fails(x)\nexcept ValueError:\n    pass\nassert x == []",
    ],
)
def test_a_call_by_itself_changes_its_arguments_and_one_whose_value_is_used_does_not(test: str) -> None:
    outcome = run(MUTATES, test)
    assert outcome.passed == (True,), outcome.notes


def test_what_a_program_does_to_its_arguments_is_its_behaviour_where_a_test_can_see_it() -> None:
    seen = [
        run(f"def f(x):\n    {body}", "x = [3, 1]\nf(x)\nassert len(x) == 2").behaviour
        for body in ("x.sort()", "x.reverse()", "x[:] = [1, 3]", "pass", "x[0] = 4")
    ]
    assert seen[0] == seen[1] == seen[2]
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    "test",
    [
        "assert apply(lambda v: v + 1, 2) == 3",
        "assert apply(str, 2) == '2' and apply(str.upper, 'a') == 'A' and apply(math.sqrt, 4) == 2.0",
        "assert apply(len, [1, 2]) == 2 and apply(collections.Counter, 'aa') == {'a': 2}",
        "assert every(lambda v: v > 1, [1, 2, 3]) == [2, 3]",
        "def double(v):\n    return 2 * v\nassert twice(double)(3) == 12",
        "seen = []\napply(seen.append, 1) if False else apply(lambda v: seen.append(v), 1)\nassert seen == [1]",
        "assert apply(lambda v: twice(lambda w: w + v)(v), 1) == 3",
        "assert apply(lambda v: lambda: v, 5)() == 5",
        "assert caught(lambda: 1 // 0) == 'ZeroDivisionError' and caught(lambda: [].pop()) == 'IndexError'",
        "assert apply(lambda one: one.twice(), Number(4)) == 8",
        "assert named(lambda a, *, b: a - b) == 1",
    ],
)
def test_functions_are_handed_to_a_program(test: str) -> None:
    program = """
class Number:
    def __init__(self, n): self.n = n
    def twice(self): return 2 * self.n
def apply(f, v): return f(v)
def every(f, values): return [v for v in values if f(v)]
def twice(f): return lambda v: f(f(v))
def named(f): return f(3, b=2)
def caught(f):
    try: f()
    except Exception as error: return type(error).__name__
"""
    outcome = run(program, test, setup="import collections, math")
    assert outcome.passed == (True,), outcome.notes


def test_how_often_a_program_calls_a_function_of_the_tests_is_not_its_behaviour() -> None:
    test = "assert f(lambda v: v + 1) == 3"
    once, again = (run(f"def f(g):\n    {body}", test).behaviour for body in ("return g(2)", "return g(1) and g(2)"))
    assert once == again is not None


def test_an_object_of_the_tests_is_not_handed_over() -> None:
    outcome = run("def f(x): return 1", "class Own: pass\nassert f(Own()) == 1", "assert f(print.__self__) == 1")
    assert outcome.passed == (False, False)
    assert "cannot be handed to a program" in outcome.notes[0]


def test_the_setup_sees_the_program_and_its_names_stand() -> None:
    program = (
        "class Node:\n    def __init__(self, n): self.n = n\ndef limit(): return 1\ndef value(node): return node.n"
    )
    setup = "root = Node(3)\ndef limit(): return 5"
    assert run(program, "assert value(root) == 3", "assert limit() == 5", setup=setup).passed == (True, True)


def test_a_function_may_have_the_name_of_one_of_pythons() -> None:
    assert run("def sum(a, b):\n    return a * b", "assert sum(2, 5) == 10").passed == (True,)


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
    back = decode(json.loads(json.dumps(encode(value, _never))), {})
    assert back == value
    assert type(back) is type(value)


def _never(*_: object) -> list[object]:
    raise AssertionError("not plain")


@pytest.mark.parametrize(
    "form", [["x"], ["i", 3], ["f", "no"], {"a": 1}, ["c", "0x1p0"], ["d", [[], 1]], ["b", "zz"], ["r"], 1.5]
)
def test_what_is_no_form_is_refused(form: object) -> None:
    with pytest.raises(NotPlain):
        decode(form, {"r": lambda number, name: None})


@given(st.lists(PLAIN, max_size=4), st.lists(PLAIN, max_size=4))
def test_shared_values_cross_and_take_what_they_are_given(value: list[object], other: list[object]) -> None:
    own, there = Shared(), Shared()
    doubled = [value, (value, {"a": other})]
    back = decode_shared(json.loads(json.dumps(encode(doubled, _never, own))), {}, there)
    assert back == doubled
    assert back[0] is back[1][0]
    back[0][:], back[1][1]["b"] = other, back[0]
    now = json.loads(json.dumps(contents(there, _never)))
    change(own, dict(enumerate(now)), {})
    assert doubled == back
    assert doubled[1][1]["b"] is value is doubled[0]


@pytest.mark.parametrize(
    "changed",
    [
        *({"0": ["d"]}, {"0": 1}, {"0": ["m", 7]}, {"0": ["m", -1]}, {"0": ["l", ["x"]]}, {"9": ["l"]}, {"-1": ["l"]}),
        *({"x": ["l"]}, {"0": ["m"]}, {"0": ["l", ["s", ["m", 0]]]}, [["l"]], None),
    ],
)
def test_what_is_no_change_is_refused(changed: object) -> None:
    own, value = Shared(), [1]
    encode(value, _never, own)
    with pytest.raises(NotPlain):
        change(own, changed, {})
    assert value == [1]


def test_not_a_number_crosses() -> None:
    assert math.isnan(decode(encode(math.nan, _never), {}))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_is_whole_instructions_that_end_in_allow(machine: str) -> None:
    content = filter_program(machine)
    assert len(content) % 8 == 0
    assert content[-4:] == (0x7FFF0000).to_bytes(4, "little")
    with pytest.raises(OSError, match="no list of system calls for sparc"):
        filter_program("sparc")
