"""The math verifier: equal answers have one vote, what is not surely right is wrong, and no text of a model runs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import PATIENCE_S, no_blow_up
from thickets.tasks.problems import ProblemConfig
from thickets.tasks.problems.file import FileProblem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example
from thickets.tasks.verifiers import MATH
from thickets.tasks.verifiers.expressions.process import PROCESS
from thickets.tasks.verifiers.math import math_answer

CASES = Path(__file__).parents[2] / "cases" / "verdicts" / "math.jsonl"


def example(gold: str, *aliases: str) -> Example:
    return Example("id", "question", gold, {"aliases": list(aliases)} if aliases else {})


def verdict(gold: str, reply: str, *aliases: str) -> str:
    judge = Judge(FileProblem(ProblemConfig(name="file", path="unused.jsonl", verifier="math")))
    question = example(gold, *aliases)
    if not MATH.accepts(MATH.gold(question), question):
        return "gold refused"
    [found] = judge.judge([reply], [question])
    return "abstains" if found.answer is None else "right" if found.correct else "wrong"


@pytest.mark.parametrize("row", CASES.read_text(encoding="utf-8").splitlines())
def test_verdicts_are_those_of_a_careful_person(row: str) -> None:
    case = json.loads(row)
    assert verdict(case["gold"], case["reply"]) in case["allowed"]


def test_every_gold_answer_is_right_as_a_reply() -> None:
    golds = {json.loads(row)["gold"] for row in CASES.read_text(encoding="utf-8").splitlines()}
    found = {gold: verdict(gold, gold) for gold in golds}
    assert {gold: each for gold, each in found.items() if each not in ("right", "gold refused")} == {}
    assert list(found.values()).count("right") > 60
    assert {verdict(gold, rf"\boxed{{{gold}}}") for gold in golds if found[gold] == "right"} == {"right"}


SPELLINGS = [
    (
        "1/2",
        "0.5",
        r"\frac{1}{2}",
        r"\frac12",
        r"\dfrac{2}{4}",
        "2/4",
        ".5",
        "½",
        r"x = \frac{1}{2}",
        "0.50",
        r"2^{-1}",
    ),
    ("(x+1)^2", "x^2+2x+1", "(1+x)(x+1)", "1 + 2x + x²", r"x\cdot x + 2x + 1", "x^{2}+2x+1"),
    (r"\sqrt{8}", r"2\sqrt{2}", r"2\sqrt2", "2√2", "sqrt(8)", "2*sqrt(2)", r"\frac{4}{\sqrt{2}}", "8^{1/2}"),
    (r"\{1,2\}", r"\{2, 1\}", "1, 2", r"1 \text{ or } 2", r"x = 1 \text{ or } x = 2", r"\left\{1,2\right\}"),
    ("[2,5)", r"2 \le x < 5", r"x \in [2, 5)", r"\left[2, 5\right)", r"5 > x \geq 2"),
    ("1234", "1,234", "1{,}234", r"1\,234", "1 234", "1234.0", r"1.234 \times 10^3"),
    (r"\frac{x+1}{x-1}", r"\frac{1+x}{x-1}", r"-\frac{x+1}{1-x}", "(x+1)/(x-1)", r"\frac{2x+2}{2x-2}"),
    ("2x+3y=6", "4x + 6y = 12", "6 = 2x + 3y", "2x + 3y - 6 = 0", r"\frac{x}{3} + \frac{y}{2} = 1"),
    ("12", r"12\text{ cm}^2", "12 square cm", r"\$12", "12%", r"12^\circ", "12 apples", r"12\,\mathrm{m/s}"),
    ("no solution", r"\text{No solution}", "No solution."),
    ("3+4i", "4i+3", "(2+i)^2"),
    (r"\pm 3", "-3, 3", r"\{3, -3\}", "x = 3 or x = -3"),
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=[spellings[0] for spellings in SPELLINGS])
def test_equal_answers_have_one_vote(spellings: tuple[str, ...]) -> None:
    votes = {spelling: math_answer(rf"\boxed{{{spelling}}}") for spelling in spellings}
    assert len(set(votes.values())) == 1, votes
    assert None not in votes.values()


def test_different_answers_have_different_votes() -> None:
    votes = [math_answer(rf"\boxed{{{spellings[0]}}}") for spellings in SPELLINGS]
    assert len(set(votes)) == len(votes)


def test_a_form_is_read_as_itself() -> None:
    golds = {json.loads(row)["gold"] for row in CASES.read_text(encoding="utf-8").splitlines()}
    forms = {form for gold in golds if (form := MATH.gold(example(gold)))}
    assert len(forms) > 40
    assert {form: math_answer(rf"<answer>{form}</answer>") for form in forms} == {form: form for form in forms}


def test_votes_split_on_few_right_answers() -> None:
    """An answer that is equal to the gold one only after a closer look has a vote of its own."""
    rows = [json.loads(row) for row in CASES.read_text(encoding="utf-8").splitlines()]
    right = [row for row in rows if row["allowed"] == ["right"]]
    split = [
        row
        for row in right
        if (question := example(row["gold"]))
        and MATH.extract(row["reply"].rpartition("</think>")[2], question) != MATH.gold(question)
    ]
    assert len(right) > 60
    assert len(split) <= 1, split


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        (r"\cos 4x", r"8\cos^4 x - 8\cos^2 x + 1", r"8\cos^4 x - 8\cos^2 x + 2"),
        (r"\frac{1}{\sqrt{x}+1}", r"\frac{\sqrt{x}-1}{x-1}", r"\frac{\sqrt{x}+1}{x-1}"),
        ("4^x", "2^{2x}", "2^{4x}"),
        (r"\frac{\pi}{4}", r"\arctan\frac12 + \arctan\frac13", r"\arctan\frac12 + \arctan\frac14"),
        ("1", r"\sqrt[3]{2+\sqrt5}-\sqrt[3]{\sqrt5-2}", r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{\sqrt5-2}"),
        (r"(4^x, \pi)", r"(2^{2x}, \pi)", r"(\pi, 2^{2x})"),
        (r"\{4^x, \pi\}", r"\{\pi, 2^{2x}\}", r"\{\pi, 2^{2x}, 1\}"),
    ],
)
def test_answers_that_are_equal_after_a_closer_look_are_right(gold: str, right: str, wrong: str) -> None:
    """They have votes of their own: no form is the same for all that is equal."""
    assert math_answer(rf"\boxed{{{gold}}}") != math_answer(rf"\boxed{{{right}}}")
    assert verdict(gold, rf"\boxed{{{right}}}") == "right"
    assert verdict(gold, rf"\boxed{{{wrong}}}") == "wrong"


def test_a_factorial_is_no_exclamation() -> None:
    assert verdict("n+1", r"\boxed{(n+1)!}") == "wrong"
    assert verdict("(n+1)!", r"\boxed{(n+1)!}") == "right"
    assert verdict("120", r"\boxed{5!}") == "right"
    assert verdict("east", "East!") == "right"


def test_a_logarithm_without_a_base_has_any() -> None:
    assert verdict("3", r"\boxed{\frac{\log 8}{\log 2}}") == "right"
    assert verdict("2", r"\boxed{\log 100}") == "wrong"
    assert verdict(r"\log 100", r"\boxed{\log 100}") == "right"


def test_any_accepted_answer_is_right() -> None:
    assert verdict("1/2", r"\boxed{50\%}") == "wrong"
    assert verdict("1/2", r"\boxed{50\%}", r"50\%") == "right"
    assert verdict("5 cm", r"\boxed{2 \text{ in}}", "2 in") == "right"
    assert verdict("5 cm", r"\boxed{5 \text{ kg}}", "2 in") == "wrong"


@settings(deadline=None)
@given(
    st.fractions(max_denominator=10**6),
    st.sampled_from(["{}", r"\boxed{{{}}}", "The answer is {}.", "<answer>{}</answer>"]),
)
def test_every_fraction_is_right_as_itself_and_as_nothing_else(value: object, form: str) -> None:
    assert verdict(str(value), form.format(value)) == "right"
    assert verdict(f"{value} + 1", form.format(value)) == "wrong"


ATTACKS = [
    "__import__('os').system('touch {}')",
    "open('{}', 'w').close()",
    "exec(\"open('{}','w')\")",
    "sqrt(open('{}','w'))",
    r"\operatorname{{open}}('{}','w')",
    "[x for x in ().__class__.__base__.__subclasses__()][0]('{}')",
    "2 + __import__('pathlib').Path('{}').touch()",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_of_a_model_is_evaluated(attack: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    text = attack.format(trap)
    for reply in (text, rf"\boxed{{{text}}}", f"<answer>{text}</answer>", f"The answer is ${text}$."):
        verdict("2", reply)
    PROCESS.form(text)  # also where the grammar is not asked first
    PROCESS.equal(text, "2")
    PROCESS.form("x + 1")  # the process lives, so that the text was answered and not lost
    assert not trap.exists()


NASTY = [
    r"9^{9^{9^9}}",
    "9^9^9^9",
    r"\sqrt{" * 500 + "2" + "}" * 500,
    "(" * 3000,
    "(" * 3000 + "1" + ")" * 3000,
    "{" * 3000,
    r"\boxed{" * 3000,
    r"\boxed{" * 3000 + "}" * 3000,
    r"\frac{" * 30 + "1" + "}{2}" * 30,
    r"\int_0^1" * 50 + r"e^{-x^2} dx",
    r"\sum_{k=1}^{10^{100}} k",
    "x" * 1_000_000,
    "1" * 1_000_000,
    "the answer is " * 100_000,
    r"\(" * 100_000,
    "$" * 100_001,
    "<answer>" * 100_000,
    "1,2;" * 100_000,
    "\x00" * 1000,
    "\u202e" * 1000 + "2",
    "((400!)!)!",
    "5" + "!" * 200,
    r"(x+y+z+w)^{99}",
    r"\frac{x^{400}-1}{x^{399}-1}",
    "*".join(f"(x+{i})" for i in range(60)),
    "+".join(rf"\sqrt{{x+{i}}}" for i in range(60)),
    r"\sqrt{" + "9" * 300 + "}",
    r"e^{e^{e^{e^{e}}}}",
    r"\lfloor e^{999} \rfloor",
    r"\sin(10^{1000})",
    r"\frac{1}{\sqrt{2}+\sqrt{3}+\sqrt{5}+\sqrt{7}+\sqrt{11}+\sqrt{13}}",
    r"\frac{1}{\sqrt[3]{2}+\sqrt[5]{3}+\sqrt[7]{5}}",
    r"\tan\tan\tan x" * 10,
    "|" * 1000,
    r"\pm" * 300,
    "=".join("x" * 300),
    "1e999999999",
    "1e-999999999",
    "-" * 2000 + "1",
]


@pytest.mark.parametrize("text", NASTY, ids=[text[:20] for text in NASTY])
def test_nothing_in_a_reply_raises_or_takes_for_ever(text: str) -> None:
    PROCESS.form("x + 1")  # the process has started
    for reply in (text, rf"\boxed{{{text}}}"):
        with no_blow_up():
            assert verdict("12345", reply) in ("wrong", "abstains")


PIECES = [
    *r"0123456789xyei+-*/^_!(){}[]|,.;=<>$%\ ",
    r"\frac",
    r"\sqrt",
    r"\pi",
    r"\sin",
    r"\text{",
    " or ",
    r"\{",
    "cm",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
def test_no_text_raises_and_every_answer_is_read_as_itself(text: str) -> None:
    answer = math_answer(rf"\boxed{{{text}}}")
    if answer is not None:
        assert math_answer(f"<answer>{answer}</answer>") == answer


def test_the_package_is_imported_without_sympy() -> None:
    code = "import sys, thickets.tasks.verifiers, thickets.tasks.problems; assert 'sympy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=PATIENCE_S)


def test_a_plain_number_needs_no_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(PROCESS, "_answer", fail)
    with caplog.at_level(logging.WARNING):
        assert verdict("8/64", r"\boxed{0.125}") == "right"
        assert verdict("8/64", r"\boxed{0.126}") == "wrong"


def test_the_cases_have_twins_of_every_kind() -> None:
    rows = [json.loads(row) for row in CASES.read_text(encoding="utf-8").splitlines()]
    allowed = [tuple(row["allowed"]) for row in rows]
    assert allowed.count(("right",)) >= 60
    assert sum("right" not in each for each in allowed) >= 40
    assert all(before != after for before, after in pairwise(sorted(map(str, rows))))
