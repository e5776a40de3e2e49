"""A thought never votes: it is taken out if it is finished, and if it is not, the reply abstains."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import no_blow_up
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import Example
from thickets.tasks.verifiers.thought import Thoughts, after_thought, ends_in_thought, thought

OPEN = Thoughts("<think>", "</think>", is_open=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no thought: 5", "no thought: 5"),
        ("", ""),
        ("<think>5, no 7</think> 12", " 12"),
        ("<think></think>12", "12"),
        ("the template opened it </think>12", "12"),
        ("<think>a</think>4<think>b</think>12", "12"),
        ("a</think>4</think>12", "12"),
        ("<think>\n<think>begun twice</think>12", "12"),
        ("<think>outer <think>inner</think> outer</think>12", "12"),
        ("<THINK>5</Think>12", "12"),
        ("<thinking>5</thinking>12", "<thinking>5</thinking>12"),  # not the tags of this run
        ("<think>First 5, then 7, so 12. Wait", None),
        ("4<think>", None),
        ("<think>a</think>It is <think>12", None),
        ("<think>a <think>inner</think> outer goes on 12", None),
        ("a</think>4 <Think>hm 12", None),
    ],
)
def test_what_a_reply_says_is_behind_its_last_finished_thought(text: str, said: str | None) -> None:
    assert after_thought(text) == said
    assert thought(text) == (text if said is None else text[: len(text) - len(said)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("First 5, then 7, so 12. Wait", None),
        ("", None),
        ("5</think>12", "12"),
        ("\n<think>5</think>12", "12"),  # the model opens again what the template opened
        ("a</think>4<think>12", None),
    ],
)
def test_a_reply_to_a_prompt_that_opened_a_thought_begins_inside_it(text: str, said: str | None) -> None:
    assert after_thought(text, OPEN) == said


@pytest.mark.parametrize(
    ("tags", "text", "said"),
    [
        (("[THINK]", "[/THINK]"), "[THINK]5[/THINK]12", "12"),
        (("<|begin_of_thought|>", "<|end_of_thought|>"), "<|begin_of_thought|>5<|end_of_thought|>12", "12"),
        (("<|channel|>analysis", "<|channel|>final"), "<|channel|>analysis 5<|channel|>final 12", " 12"),
        (("<|channel|>analysis", "<|channel|>final"), "<|channel|>analysis 5", None),
        (("##", "###"), "## 5 ### 12", " 12"),  # one tag begins like the other
        (("(.*", ")+"), "(.*5)+12", "12"),
    ],
)
def test_tags_are_taken_as_they_are_written(tags: tuple[str, str], text: str, said: str | None) -> None:
    assert after_thought(text, tags) == said


def test_a_prompt_opens_a_thought_only_at_its_very_end() -> None:
    assert ends_in_thought("<|Assistant|><think>\n", ("<think>", "</think>"))
    assert not ends_in_thought("<|Assistant|><think>\n\n</think>\n\n", ("<think>", "</think>"))
    assert not ends_in_thought("What does <think> mean?\nassistant: ", ("<think>", "</think>"))


@given(st.lists(st.sampled_from(["<think>", "</think>", "7", " ", "<think"])).map("".join))
def test_nothing_that_is_said_holds_a_tag(text: str) -> None:
    said = after_thought(text)
    assert said is None or (text.endswith(said) and "<think>" not in said and "</think>" not in said)


@pytest.mark.parametrize("n_tags", [1_000, 100_000, 1_000_000])
def test_tags_take_time_that_grows_with_their_number(n_tags: int) -> None:
    with no_blow_up():
        assert after_thought("<think>a" * n_tags) is None
        assert after_thought("<think>" * n_tags + "</think>12") == "12"


def test_a_judge_looks_behind_the_thought_for_answers_and_for_what_was_meant() -> None:
    problem = load_problem(ProblemConfig(name="largest_number"))
    [example] = problem.examples(1, seed=0)
    judge, plain = Judge(problem), Judge(problem, None)
    unfinished, finished = f"<think>So it is {example.answer}.", f"<think>{example.answer}?</think>none"
    assert judge.extract(unfinished, example) is None
    assert plain.extract(unfinished, example) == example.answer
    assert judge.lenient(unfinished, example) is False
    assert judge.lenient(finished, example) is False
    assert plain.lenient(finished, example) is True
    assert judge.extract(f"<think>1</think>{example.answer}", example) == example.answer


def test_a_thought_that_the_prompt_opened_is_part_of_the_judges_identity() -> None:
    problem = load_problem(ProblemConfig(name="largest_number"))
    question = Example("id", "Which is larger, 3 or 12?", "12")
    assert Judge(problem).extract("12", question) is not None
    assert Judge(problem, OPEN).extract("12", question) is None
    assert Judge(problem).identity() != Judge(problem, OPEN).identity()
    assert Judge(problem).identity() == Judge(problem, ("<think>", "</think>")).identity()
