"""A user's own function as verifier: verdicts and scores, errors on one line, and an identity that sees its imports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig
from thickets.tasks.problems.configured import make_verifier
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers import Verifier, function_verifier

FUNCTIONS = '''
import sys

def divisor(text, example):
    """Any divisor of the gold number is right: answers are not unique."""
    word = text.split()[-1] if text.split() else ""
    if not word.isdigit():
        return None, False
    return str(int(word)), int(example.answer) % int(word) == 0

def uses_columns(text, example):
    return text.strip() or None, text.strip() in example.metadata.get("accepted", [])

def closeness(text, example):
    """Full marks for the gold number, fewer the farther away."""
    word = text.split()[-1]
    return word, max(0.0, 1 - abs(int(word) - int(example.answer)) / 10)

def thirds(text, example):
    return text, 1 if text == example.answer else 2 / 3

def nearly(text, example):
    return text, 1 if text == example.answer else 0.9997

def only_bool(text, example):
    return True

def forgets_its_key(text, example):
    return "key", "answer" in text

def returns(text, example):
    return eval(text)

def divides(text, example):
    return text, 1 / (len(text) - 5) > 0

def leaves(text, example):
    sys.exit("goodbye")

def recurses(text, example):
    return recurses(text, example)

def asserts(text, example):
    raise AssertionError("line one\\nline two")

number = 3
'''


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "own_verifiers.py"
    path.write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def verifier(name: str, right_at: float = 1.0) -> Verifier:
    return make_verifier(ProblemConfig(name="file", path="unused.csv", verifier=name, right_at=right_at))


def example(answer: str, **metadata: object) -> Example:
    return Example("id", "question", answer, metadata)


def right(judge: Verifier, reply: str, gold: Example) -> bool:
    return judge.accepts(judge.extract(reply, gold), gold)


@pytest.mark.usefixtures("functions")
def test_a_function_judges_answers_that_are_not_unique() -> None:
    judge = verifier("own_verifiers:divisor")
    gold = example("12")
    assert judge.gold(gold) == "12"
    assert judge.extract("I say 004", gold) == "4"
    assert right(judge, "I say 004", gold)
    assert not right(judge, "I say 5", gold)
    assert not right(judge, "no", gold)


@pytest.mark.usefixtures("functions")
def test_a_function_sees_the_other_columns() -> None:
    assert right(verifier("own_verifiers:uses_columns"), "b", example("a", accepted=["a", "b"]))


@pytest.mark.usefixtures("functions")
def test_a_function_gives_scores_in_thousandths() -> None:
    judge = verifier("own_verifiers:closeness")
    assert [judge.score(answer, example("12")) for answer in ("12", "9", "30")] == [FULL, 700, 0]
    assert verifier("own_verifiers:thirds").score("x", example("y")) == 666
    nearly = verifier("own_verifiers:nearly")
    assert nearly.score("x", example("y")) == 999, "what is not right must not become so by rounding"
    assert not nearly.accepts("x", example("y"))
    assert {type(judge.score(answer, example("12"))) for answer in ("12", "9", "30")} == {int}


@pytest.mark.usefixtures("functions")
def test_right_is_a_score_that_the_problem_names() -> None:
    gold = example("12")
    assert right(verifier("own_verifiers:closeness"), "it is 12", gold)
    assert not right(verifier("own_verifiers:closeness"), "it is 11", gold)
    assert right(verifier("own_verifiers:closeness", 0.9), "it is 11", gold)
    assert not right(verifier("own_verifiers:closeness", 0.91), "it is 11", gold)


@pytest.mark.usefixtures("functions")
def test_what_is_right_changes_verdicts_and_so_their_identity() -> None:
    def problem(right_at: float) -> FileProblem:
        return FileProblem(
            ProblemConfig(name="file", path="unused.csv", verifier="own_verifiers:closeness", right_at=right_at)
        )

    assert problem(0.5).right_at == 500
    assert Judge(problem(0.5)).identity() != Judge(problem(0.6)).identity()
    [verdict] = Judge(problem(0.5)).judge(["so 8"], [example("12")])
    assert (verdict.answer, verdict.score, verdict.correct) == ("8", 600, True)


def test_right_at_is_for_functions() -> None:
    with pytest.raises(ValidationError, match=r"problem\.right_at is 0\.5, but verifier numeric gives no scores"):
        ProblemConfig(name="file", path="a.csv", verifier="numeric", right_at=0.5)
    for value in (0, 1.5, -1, float("nan")):
        with pytest.raises(ValidationError, match="right_at"):
            ProblemConfig(name="file", path="a.csv", verifier="m:f", right_at=value)


@pytest.mark.usefixtures("functions")
def test_a_gold_answer_must_be_right_by_its_own_verifier() -> None:
    assert verifier("own_verifiers:closeness").gold(example("12")) == "12"
    assert verifier("own_verifiers:forgets_its_key").gold(example("12")) is None


@pytest.mark.parametrize(
    "value",
    ["True", "None", "('a',)", "('a', True, 1)", "('', True)", "(None, True)", "(None, 0.5)",
     "(3, True)", "('a', 'True')", "('a', None)", "('a', float('nan'))", "('a', 1.01)", "('a', -0.1)", "('a', 2)",
     "('a', float('inf'))", "('a', [1])", "('a', 1j)", "('a', '1')", "(b'a', True)"],
)  # fmt: skip
@pytest.mark.usefixtures("functions")
def test_what_is_no_verdict_is_refused_on_one_line(value: str) -> None:
    with pytest.raises(InputError) as caught:
        verifier("own_verifiers:returns").extract(value, example("1"))
    message = str(caught.value)
    assert message.startswith("problem.verifier own_verifiers:returns returned ")
    assert "for example id; it must return a pair" in message
    assert value in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("divides", r"ZeroDivisionError: division by zero at own_verifiers\.py:\d+"),
        ("leaves", r"SystemExit: goodbye at own_verifiers\.py:\d+"),
        ("recurses", r"RecursionError: maximum recursion depth exceeded.* at own_verifiers\.py:\d+"),
        ("asserts", r"AssertionError: line one line two at own_verifiers\.py:\d+"),
    ],
)
@pytest.mark.usefixtures("functions")
def test_an_error_in_a_function_is_one_line(name: str, what: str) -> None:
    text = "x" * 100 + "\nthe end" if name != "divides" else "\nend!"
    judge = verifier(f"own_verifiers:{name}")
    message = (
        rf"\Aproblem\.verifier own_verifiers:{name} raised {what} for example id; [^\n]*this text ends '[^\n]*end!?'\Z"
    )
    for call in (judge.extract, judge.score):
        with pytest.raises(InputError, match=message):
            call(text, example("1"))
    with pytest.raises(InputError, match=what):
        judge.gold(example("12345"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_verifiers:only_bool", r"returned True for example id; it must return a pair"),
        ("own_verifiers:forgets_its_key", r"it must give the same pair for both"),
    ],
)
@pytest.mark.usefixtures("functions")
def test_a_function_that_breaks_the_contract_is_named(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verifier(name).extract("an answer", example("1"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:judge", r"module no_such_module cannot be imported"),
        ("own_verifiers:judge", r"has no function judge; it has divisor, uses_columns"),
        ("own_verifiers:number", r"has no function number"),
        ("broken:judge", r"module broken cannot be imported \(ZeroDivisionError: division by zero at broken\.py:1\)"),
        ("quits:judge", r"module quits cannot be imported \(SystemExit: 3 at quits\.py:1\)"),
    ],
)
def test_a_function_that_cannot_be_found_is_named(functions: Path, name: str, message: str) -> None:
    functions.with_name("broken.py").write_text("1 / 0\n")
    functions.with_name("quits.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(InputError, match=message):
        verifier(name)


TREE = {
    "judges/__init__.py": "",
    "judges/main.py": "from . import near\nfrom judges.deep.far import f\nimport json\ndef judge(t, e): return t, 1\n",
    "judges/near.py": "def late():\n    import beside\n",
    "judges/deep/__init__.py": "from .. import up\n",
    "judges/deep/far.py": "from .nearby import g as f\n",
    "judges/deep/nearby.py": "def g(): ...\n",
    "judges/up.py": "",
    "judges/other.py": "",
    "beside.py": "import judges.main\n",
    "unrelated.py": "",
}


@pytest.fixture
def tree(functions: Path) -> Path:
    for name, text in TREE.items():
        path = functions.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return functions.parent


@pytest.mark.parametrize("name", TREE)
def test_the_identity_covers_what_the_module_imports_from_its_folder(tree: Path, name: str) -> None:
    before = function_verifier("judges.main:judge").details
    (tree / name).write_text(TREE[name] + "# changed\n")
    counts = name not in ("judges/other.py", "unrelated.py")
    assert (function_verifier("judges.main:judge").details != before) is counts


def test_the_identity_does_not_depend_on_the_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = function_verifier("judges.main:judge").details
    moved = tree.parent / f"{tree.name}-moved"
    tree.rename(moved)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("judges", "beside")]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(moved)
    assert function_verifier("judges.main:judge").details == before
    for name in [name for name in sys.modules if name.partition(".")[0] in ("judges", "beside")]:
        del sys.modules[name]
    moved.rename(tree)


def test_a_changed_function_is_another_problem(functions: Path) -> None:
    before = verifier("own_verifiers:divisor").details
    functions.write_text(FUNCTIONS + "# changed\n")
    assert verifier("own_verifiers:divisor").details != before
