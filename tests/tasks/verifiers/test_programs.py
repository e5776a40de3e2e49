"""Programs as answers: which are found in a reply, which pass, and how they vote."""

from __future__ import annotations

import pytest

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.base import HasMany
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.mbpp import SAMPLE
from thickets.tasks.sandbox.isolation import works
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers import programs
from thickets.tasks.verifiers.code import program_in
from thickets.tasks.verifiers.programs import isolation_of

DOUBLE = "def double(x):\n    return 2 * x"
EXAMPLE = Example("a", "Double.", DOUBLE, {"test_list": ["assert double(2) == 4", "assert double('a') == 'aa'"]})


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        (f"Here it is:\n```python\n{DOUBLE}\n```\nIt doubles.", DOUBLE),
        (f"```\n{DOUBLE}\n```", DOUBLE),
        (f"```py\n{DOUBLE}", DOUBLE),
        (f"```python\nx = 1\n```\nand\n```python\n{DOUBLE}\n```\n```python\ndouble(3)\n```", DOUBLE),
        (f"```python\ndef other(): pass\n```\nBetter:\n```python\n{DOUBLE}\n```", DOUBLE),
        (f"```bash\npip install x\n```\n```python\n{DOUBLE}\n```", DOUBLE),
        (f"Sure.\n{DOUBLE}\n\nThis doubles its argument.", DOUBLE),
        (f"import math\n\n{DOUBLE}", f"import math\n\n{DOUBLE}"),
        ("double = lambda x: 2 * x\n", None),
        ("```python\ndouble = lambda x: 2 * x\n```", "double = lambda x: 2 * x"),
        ("```python\nprint('hello')\n```", None),
        ("```python\ndef double(x)\n    return\n```", None),
        ("I cannot do that.", None),
        ("", None),
        ("```python\n" + "(" * 5000 + "\n```", None),
        ("```python\ndef f(): return '\0'\n```", None),
        ("def f(x):\n" + "    x += 1\n" * 10_000, None),
    ],
    ids=range(17),
)
def test_the_program_of_a_reply(reply: str, program: str | None) -> None:
    assert program_in(reply) == program


@pytest.fixture(scope="module")
def judge() -> Judge:
    config = ProblemConfig(name="file", path="none.jsonl", verifier="tests", sandbox="weak", right_at=0.5)
    return Judge(load_problem(config))


def test_programs_that_do_the_same_vote_together_and_get_the_share_that_passes(judge: Judge) -> None:
    replies = [
        f"```python\n{DOUBLE}\n```",
        "```python\ndef double(value):\n    return value + value\n```",
        "```python\ndef double(x):\n    return 2 * int(x)\n```",
        "```python\ndef triple(x):\n    return 3 * x\n```",
        "no idea",
    ]
    found = judge.judge(replies, [EXAMPLE] * 5)
    assert found[0] == found[1]
    assert [each.score for each in found] == [FULL, FULL, FULL // 2, 0, 0]
    assert [each.correct for each in found] == [True, True, True, False, False]
    assert found[2].answer != found[0].answer
    assert (found[3].answer, found[4].answer) == (None, None)
    assert [judge.judge([reply], [EXAMPLE])[0] for reply in replies] == found
    # A vote is judged by itself.
    assert judge.of_answer(found[2].answer, EXAMPLE) == found[2]


def test_thoughts_are_no_programs_and_unfinished_ones_abstain(judge: Judge) -> None:
    reply = f"<think>```python\n{DOUBLE}\n```"
    wrong = "</think>```python\ndef double(x): return x\n```"
    found = judge.judge([reply, reply + wrong, f"```python\n{DOUBLE}\n```"], [EXAMPLE] * 3)
    assert [each.score for each in found] == [0, 0, FULL]
    assert found[0].answer is None


def test_a_gold_program_must_pass_its_tests(judge: Judge) -> None:
    assert isinstance(judge.problem, HasMany)
    problem = load_problem(ProblemConfig(name="mbpp", path="none.jsonl", sandbox="weak"))
    gold = problem.extract(SAMPLE.answer, SAMPLE)
    assert gold is not None
    assert problem.score(gold, SAMPLE) == FULL
    prompt = problem.messages(SAMPLE)[-1]["content"]
    assert all(test in prompt for test in SAMPLE.metadata["test_list"])


def test_a_question_without_tests_is_one_line(judge: Judge) -> None:
    with pytest.raises(InputError, match=r"problem\.tests_column is 'test_list'; for example b it holds nothing"):
        judge.judge([f"```python\n{DOUBLE}\n```"], [Example("b", "Double.", DOUBLE)])


def test_where_programs_can_only_be_limited_they_are_refused_unless_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(programs, "_STRONG", ())
    with pytest.raises(InputError, match=r"problem.sandbox is 'required'.*bubblewrap.*problem.sandbox: weak"):
        isolation_of("required")
    assert works(isolation_of("weak"))
