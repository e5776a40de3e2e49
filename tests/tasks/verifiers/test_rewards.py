"""Reward functions of TRL and verl as verifiers: how they are called, what votes, and errors on one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from thickets.storage.errors import InputError
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import FULL, Example
from thickets.tasks.verifiers import EXACT, MATH, NUMERIC, Verifier
from thickets.tasks.verifiers.own_code import Trainer, trainer_of
from thickets.tasks.verifiers.rewards import RewardSettings, reward_verifier, whole_text

FUNCTIONS = '''
import re
import sys

calls = []

def in_the_box(prompts, completions, solution, **columns):
    """As TRL calls it for text prompts: one reward for each completion."""
    calls.append((prompts, completions, solution, columns))
    found = [re.findall(r"\\\\boxed{(.*?)}", completion) for completion in completions]
    return [1.0 if each[-1:] == [gold] else 0.0 for each, gold in zip(found, solution)]

def of_chats(prompts, completions, answer, log_extra, log_metric, **columns):
    log_extra("gold", answer)
    log_metric("n", 1.0)
    contents = [turns[0]["content"] for turns in completions]
    return [float(each == gold and turns[-1]["role"] == "user") for each, gold, turns in zip(contents, answer, prompts)]

def length(completions, **columns):
    return [min(1.0, len(each) / 10) for each in completions]

def signed(completions, answer, **columns):
    return [1.0 if each == gold else -1.0 for each, gold in zip(completions, answer)]

def skips(completions, **columns):
    return [None for each in completions]

def not_a_number(completions, **columns):
    return [float("nan") for each in completions]

def words(completions, **columns):
    return ["1.0" for each in completions]

def too_many(completions, **columns):
    return [1.0] * (len(completions) + 1)

def one_number(completions, **columns):
    return 1.0

def nothing(completions, **columns):
    return None

def divides(completions, **columns):
    return [1 / 0]

def leaves(completions, **columns):
    sys.exit("goodbye")

def of_ids(completions, completion_ids, **columns):
    return [1.0]

async def waits(completions, **columns):
    return [1.0]

def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """As verl calls it: one reply at a time."""
    calls.append((data_source, solution_str, ground_truth, extra_info))
    found = re.search(r"#### (-?[0-9.]+)", solution_str)
    return 1.0 if found and found[1] == ground_truth else 0.0

def with_details(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(solution_str == ground_truth), "acc": True}

def without_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"acc": True}

def of_a_dictionary(data_source, solution_str, ground_truth, extra_info=None):
    return float(solution_str in ground_truth["target"])
'''


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "own_rewards.py"
    path.write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    yield path
    sys.modules.pop("own_rewards", None)


def made(name: str, votes: Verifier | None = None, trainer: Trainer = "trl", **settings: Any) -> Verifier:
    path = name if ":" in name else f"own_rewards:{name}"
    return reward_verifier(trainer, path, votes or whole_text(), RewardSettings(**settings))


def calls() -> list[Any]:
    found: list[Any] = sys.modules["own_rewards"].calls
    return found


SUM = Example("sum", "What is 5 + 7?", "12", {"level": 3})
CHAT = Example("chat", "And 5 + 7?", "12", {"turns": [{"role": "system", "content": "Be brief."}]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trl:my.rewards:length", ("trl", "my.rewards:length")),
        ("verl:scores:compute_score", ("verl", "scores:compute_score")),
        ("trl:length", None),
        ("rewards:length", None),
        ("numeric", None),
        (None, None),
    ],
)
def test_a_trainer_stands_before_module_and_function(text: str | None, expected: tuple[str, str] | None) -> None:
    assert trainer_of(text) == expected


def test_a_trl_function_is_asked_once_for_all_replies_and_sees_their_answers_in_a_form() -> None:
    verifier = made("in_the_box", NUMERIC, answer_column="solution", answer_form=r"\boxed{{answer}}")
    other = Example("other", "What is 2 * 3?", "6", {"level": 1})
    assert verifier.extract_all is not None
    texts = ["It is 12.", "That makes 12", "no idea", "7 it is: 7"]
    answers = verifier.extract_all(texts, [SUM, SUM, SUM, other])
    assert answers == ["12", "12", None, "7"]
    assert [verifier.score("12", SUM), verifier.score("7", other)] == [FULL, 0]
    [(prompts, completions, solution, columns)] = calls()
    assert (prompts, completions) == ([SUM.question, other.question], [r"\boxed{12}", r"\boxed{7}"])
    assert solution == ["12", "6"]
    assert columns.pop("log_extra")("name", [1]) is columns.pop("log_metric")("name", 1.0) is None
    assert columns == {"level": [3, 1]}
    assert verifier.accepts(verifier.gold(SUM), SUM)


def test_where_the_data_holds_chats_completions_are_chats() -> None:
    verifier = made("of_chats", EXACT)
    assert verifier.score("12", CHAT) == FULL
    assert verifier.score("13", CHAT) == 0
    with pytest.raises(InputError, match=r"raised TypeError: string indices must be integers.* at own_rewards\.py:\d+"):
        verifier.score("12", SUM)


def test_the_whole_reply_is_judged_where_it_votes() -> None:
    verifier = made("length")
    assert verifier.extract("  four ", SUM) == "four"
    assert verifier.extract(" \n", SUM) is None
    assert [verifier.score(text, SUM) for text in ("four", "four words")] == [400, FULL]


def test_rewards_are_laid_on_the_range_that_the_config_names() -> None:
    verifier = made("signed", score_range=(-1.0, 1.0))
    assert [verifier.score(text, SUM) for text in ("12", "13")] == [FULL, 0]
    verifier = made("length", score_range=(0.0, 4.0), right_at=0.2)
    assert verifier.score("x" * 8, SUM) == 200
    assert verifier.accepts("x" * 8, SUM)
    assert not verifier.accepts("x" * 7, SUM)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("signed", r"returned -1 for example sum and the reply 'no', but problem\.score_range is \[0, 1\]; set it to"),
        ("skips", r"returned None for example sum and the reply 'no'; a reward must be a number"),
        ("not_a_number", r"returned nan for example sum and the reply 'no'; a reward must be a number"),
        ("words", r"returned '1\.0' for example sum"),
        ("too_many", r"returned \[1\.0, 1\.0\] for 1 reply; it must return a list with a reward for each"),
        ("one_number", r"returned 1\.0 for 1 reply; it must return a list"),
        ("nothing", r"returned None for 1 reply; it must return a list"),
        (
            "divides",
            r"raised ZeroDivisionError: division by zero at own_rewards\.py:\d+ for example sum; the first was",
        ),
        ("leaves", r"raised SystemExit: goodbye at own_rewards\.py:\d+ for example sum"),
        ("of_ids", r"raised TypeError: of_ids\(\) missing 1 required .*'completion_ids'"),
    ],
)
def test_what_a_trl_function_does_wrong_is_one_line(name: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"\Aproblem\.verifier trl:own_rewards:{name} {message}") as caught:
        made(name).score("no", SUM)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_rewards:waits", r"is 'trl:own_rewards:waits', which is asynchronous"),
        ("own_rewards:absent", r"has no function absent; it has in_the_box, "),
        ("no_such_module:f", r"module no_such_module cannot be imported"),
    ],
)
def test_a_function_that_cannot_be_asked_is_refused_at_once(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(path)


def test_a_verl_function_is_asked_as_verl_asks_it() -> None:
    verifier = made("compute_score", NUMERIC, "verl", answer_form="#### {answer}")
    row = Example("row", "How many?", "42", {"data_source": "openai/gsm8k", "extra_info": {"index": 7}})
    assert verifier.extract_all is not None
    assert verifier.extract_all(["So it is 42.", "#### 41"], [row, row]) == ["42", "41"]
    assert [verifier.score("42", row), verifier.score("41", row)] == [FULL, 0]
    assert calls() == [("openai/gsm8k", f"#### {each}", "42", {"index": 7}) for each in ("42", "41")]
    assert verifier.score("12", SUM) == FULL
    assert calls()[-1] == ("", "#### 12", "12", {})


def test_a_verl_function_may_return_a_mapping_with_its_score() -> None:
    assert made("with_details", trainer="verl").score("12", SUM) == FULL
    with pytest.raises(InputError, match=r"without_score returned {'acc': True} for example sum"):
        made("without_score", trainer="verl").score("12", SUM)


def test_a_verl_function_gets_the_column_as_it_is_where_it_is_no_text() -> None:
    column = "reward_model.ground_truth.target"
    verifier = made("of_a_dictionary", EXACT, "verl", answer_column=column)
    metadata = {"reward_model": {"ground_truth": {"target": ["Paris", "paris"]}}}
    assert verifier.score("paris", Example("row", "Where?", "Paris", metadata)) == FULL


def test_every_accepted_answer_is_right() -> None:
    verifier = made("with_details", trainer="verl")
    row = Example("row", "How many?", "12", {"aliases": ["twelve"]})
    assert [verifier.score(text, row) for text in ("12", "twelve", "ten")] == [FULL, FULL, 0]


def test_an_answer_is_judged_once_and_by_its_example() -> None:
    verifier = made("compute_score", NUMERIC, "verl", answer_form="#### {answer}")
    for _ in range(3):
        assert verifier.score("12", SUM) == FULL
    assert len(calls()) == 1
    assert verifier.score("12", Example("sum", SUM.question, "13", SUM.metadata)) == 0


def test_what_changes_a_verdict_is_in_the_identity(functions: Path) -> None:
    votes: list[dict[str, Any]] = [{"votes": EXACT}, {"votes": MATH}]
    settings: list[dict[str, Any]] = [
        *({"answer_form": "= {answer}"}, {"score_range": (-1.0, 1.0)}, {"right_at": 0.5}, {"answer_column": "gold"}),
    ]
    found = [made("length", **each).details for each in [{}, *votes, *settings]]
    functions.write_text(FUNCTIONS + "# changed\n")
    found.append(made("length").details)
    assert len({str(each) for each in found}) == len(found)


def test_trls_own_functions_judge() -> None:
    pytest.importorskip("trl")
    pytest.importorskip("math_verify")
    third = Example("third", "A third of one?", r"\frac{1}{3}", {"turns": []})
    accuracy = made("trl.rewards:accuracy_reward", MATH, answer_column="solution", answer_form=r"\boxed{{answer}}")
    assert accuracy.accepts(accuracy.gold(third), third)
    answers = [accuracy.extract(text, third) for text in (r"\boxed{2/6}", "The answer is 1/2.", r"\boxed{}")]
    assert answers == ["1/3", "1/2", None]
    assert [accuracy.score(str(answer), third) for answer in answers[:2]] == [FULL, 0]
    thinks = made("trl.rewards:think_format_reward", answer_form="<think>So.</think>{answer}")
    assert thinks.accepts(thinks.gold(third), third)
    form = made("trl.rewards:think_format_reward")
    assert [form.score(text, third) for text in ("<think>Hm.</think>1", "1")] == [FULL, 0]


def configured(path: Path, **fields: Any) -> ProblemConfig:
    return ProblemConfig(name="file", path=str(path), **fields)


def test_a_config_names_function_votes_form_and_range(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"prompt": "What is 5 + 7?", "solution": "12.0"}\n{"prompt": "And 2 * 3?", "solution": "6"}\n')
    columns = {"question_column": "prompt", "answer_column": "solution", "verifier": "trl:own_rewards:in_the_box"}
    problem = load_problem(configured(data, **columns, votes="text", answer_form=r"\boxed{{answer}}"))
    assert "Think step by step" not in problem.messages(problem.examples(2, 0)[0])[-1]["content"]
    problem = load_problem(configured(data, **columns, votes="numeric", answer_form=r"\boxed{{answer}}"))
    with pytest.raises(
        InputError, match=r"line 1: the gold answer '12\.0' cannot be judged by verifier trl:own_rewards:in"
    ):
        problem.examples(2, seed=0)  # the function compares texts, and the answer that votes is 12
    data.write_text(data.read_text().replace("12.0", "12"))
    problem = load_problem(configured(data, **columns, votes="numeric", answer_form=r"\boxed{{answer}}"))
    examples = problem.examples(2, seed=0)
    assert "Think step by step" in problem.messages(examples[0])[-1]["content"]
    before = len(calls())
    verdicts = Judge(problem).judge(["It is 12.", "<think>6</think> I say 7"], examples)
    assert [(each.answer, each.score, each.correct) for each in verdicts] == [("12", FULL, True), ("7", 0, False)]
    assert len(calls()) == before + 1


def test_gold_answers_of_gsm8k_are_what_stands_behind_the_mark(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text('{"question": "How many?", "answer": "There are 3 and 9.\\n#### 12"}\n')
    fields = {"verifier": "verl:own_rewards:compute_score", "votes": "numeric", "answer_form": "#### {answer}"}
    problem = load_problem(ProblemConfig(name="gsm8k", path=str(data), **fields))
    [example] = problem.examples(1, seed=0)
    before = len(calls())
    verdicts = Judge(problem).judge(["So 12.", "So 13."], [example, example])
    assert [each.score for each in verdicts] == [FULL, 0]
    assert calls()[before:] == [("", "#### 13", "12", {})]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "text"),
        ({"votes": "math"}, "math"),
        ({"choices_column": "options"}, "choice"),
        ({"pattern": r"= (\d+)"}, "regex"),
        ({"pattern": r"= (\d+)", "votes": "regex"}, "regex"),
    ],
)
def test_what_votes_follows_from_the_other_settings(fields: dict[str, Any], expected: str) -> None:
    assert configured(Path("a.csv"), verifier="trl:own_rewards:length", **fields).votes_by == expected
    assert configured(Path("a.csv"), verifier="own_rewards:length").votes_by is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"verifier": "numeric", "votes": "text"},
            r"problem\.votes is 'text', but problem\.verifier is 'numeric', which",
        ),
        (
            {"verifier": "m:f", "answer_form": "= {answer}"},
            r"problem\.answer_form is '= {answer}', but problem\.verifier",
        ),
        (
            {"score_range": (-1, 1)},
            r"problem\.score_range is \(-1\.0, 1\.0\), but problem\.verifier is None, which finds",
        ),
        (
            {"verifier": "trl:m:f", "answer_form": "answer"},
            r"problem\.answer_form contains \{answer\} 0 times: 'answer'",
        ),
        (
            {"verifier": "trl:m:f", "score_range": (1, 1)},
            r"problem\.score_range is \[1\.0, 1\.0\]; it must be the least",
        ),
        ({"verifier": "trl:m:f", "votes": "regex"}, r"problem\.votes is 'regex', but problem\.pattern is missing"),
        (
            {"verifier": "trl:m:f", "votes": "math", "pattern": "x"},
            r"problem\.pattern is 'x', but problem\.verifier is",
        ),
        ({"verifier": "trl:m:f", "votes": "first"}, r"votes\n  Input should be 'text', 'exact', 'numeric', 'math'"),
        (
            {"verifier": "trl:m:f:g"},
            r"problem\.verifier is 'trl:m:f:g'; allowed are exact, .* and verl:module:function",
        ),
        ({"verifier": "nemo:m:f"}, r"problem\.verifier is 'nemo:m:f'; allowed are exact"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        configured(Path("a.csv"), **fields)
