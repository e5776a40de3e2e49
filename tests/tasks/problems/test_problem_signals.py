"""The signals problem: distinct waves, gold answers that score one, and a stated tolerance."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.signals import Signals
from thickets.tasks.signals.families import FAMILIES
from thickets.tasks.signals.values import find, write
from thickets.tasks.types import FULL, Example


def problem(**options: Any) -> Signals:
    return Signals(ProblemConfig(name="signals", options=options))


@pytest.mark.parametrize("family", FAMILIES)
def test_gold_answers_score_one(family: str) -> None:
    made = problem(family=family)
    for example in made.examples(50, seed=0):
        answer = made.extract(example.answer, example)
        assert answer is not None
        assert made.score(answer, example)
        assert (len(find(example.question)), len(find(example.answer))) == (16, 12)


def test_an_answer_is_the_value_at_the_horizon_and_may_be_a_tenth_off() -> None:
    made = problem(horizon=3)
    example = Example("e", "0.00 " * 16, "0.10 0.20 0.35")
    verdicts = {}
    for last in ("0.15", "0.20", "0.25", "0.30", "0.45", "0.50"):
        answer = made.extract(f"0.90 0.90 {last} 1.90", example)
        assert answer is not None
        verdicts[last] = answer, made.score(answer, example) == FULL
    assert verdicts == {
        "0.15": ("0.1", False),
        "0.20": ("0.2", True),
        "0.25": ("0.2", True),
        "0.30": ("0.3", True),
        "0.45": ("0.4", True),
        "0.50": ("0.5", False),
    }
    assert made.extract("0.10 0.20", example) is None
    assert made.lenient("0.10 0.20", example) is None
    assert made.lenient("0.10 0.20 1.00", example) is False


def test_votes_below_zero_have_one_form_each() -> None:
    made = problem(horizon=1)
    example = Example("e", "", "-0.05")
    assert made.extract("-0.05", example) == "-0.1"
    assert made.extract("0.00", example) == made.extract("0.05", example) == "0.0"
    assert made.score("0.0", example)
    assert not made.score("0.1", example)


def test_questions_are_distinct_and_depend_on_the_seed_alone() -> None:
    made = problem()
    questions = [example.question for example in made.examples(900, seed=7)]
    assert len(set(questions)) == 900
    assert [example.question for example in made.examples(900, seed=7)] == questions
    assert not set(questions[:50]) & {example.question for example in made.examples(50, seed=8)}


def test_a_family_that_has_run_out_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "line", lambda time, a, b, c: 0 * time + (a > 0.5))  # two signals
    with pytest.raises(InputError, match=r"'line' makes only about 2 distinct questions, 3 are needed"):
        problem(family="line").examples(3, seed=0)


def test_options_are_part_of_the_identity_and_the_horizon_of_the_decoding() -> None:
    plain = load_problem(ProblemConfig(name="signals"))
    assert plain.sampling.max_tokens == 12
    assert problem(horizon=5).sampling.max_tokens == 5
    identities = [made.identity() for made in (plain, problem(horizon=5), problem(family="line"))]
    assert all(identities.count(identity) == 1 for identity in identities)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"famly": "line"}, r"problem.options has 'famly'; signals takes family and horizon"),
        ({"family": "waves"}, r"problem.options.family is 'waves'; allowed are line, sigmoid"),
        ({"family": ["line"]}, r"problem.options.family is \['line'\]"),
        ({"horizon": 0}, r"problem.options.horizon is 0; it must be a whole number from 1 to 100"),
        ({"horizon": True}, r"problem.options.horizon is True"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        problem(**options)


def test_the_docstring_shows_the_first_question() -> None:
    (example,) = problem().examples(1, seed=0)
    assert write(find(example.question)) == example.question
    sample = sys.modules[Signals.__module__].__doc__ or ""
    assert f"question: {example.question}" in sample
    assert f"gold:     {example.answer}" in sample
