"""Wordings of a prompt: what is made of any template, which problems take them, and which one is chosen."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.judges import JUDGE
from tests.storage.storage_samples import VERDICTS, write_rows
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.evaluation.wordings import (
    Wordings,
    best_prompt,
    best_prompt_self_consistency,
    built_in,
    choose,
    leave_out_too_long,
    plan_wordings,
)
from thickets.tasks.problems import Problem, ProblemConfig, load_problem
from thickets.tasks.problems.splits import Split
from thickets.tasks.scoring.units import Block, make_blocks, prompts_of
from thickets.tasks.seeds import population
from thickets.tasks.types import Attempt, Example, Reworded

QUESTION = "{question}"


@pytest.fixture(scope="module")
def template(tiny_model: Path) -> PromptTemplate:
    return PromptTemplate.from_folder(tiny_model)


@pytest.mark.parametrize(
    ("own", "moved"),
    [
        ("{question} Reply with just the number.", "Reply with just the number. {question}"),
        ("{question}\n\nName it.", "Name it.\n\n{question}"),
        ("Name it: {question}", "{question} Name it:"),
        ("Q: {question}\nAnswer briefly.", "Answer briefly.\nQ: {question}"),
        ("Say what {question}?", "{question}? Say what"),
    ],
)
def test_an_instruction_changes_sides(own: str, moved: str) -> None:
    assert built_in(own)[0] == moved


def test_a_question_alone_has_no_instruction_to_move() -> None:
    assert len(built_in(QUESTION)) == 3
    assert len(built_in("{question} Name it.")) == 4


@pytest.mark.parametrize(
    "own", [QUESTION, "{question} Name it.", "Think STEP BY STEP. {question}", 'A {"b": {question}}']
)
def test_wordings_are_distinct_and_hold_the_question_and_the_instruction(own: str) -> None:
    made = built_in(own)
    assert len({own, *made}) == 1 + len(made)
    assert [text.count(QUESTION) for text in made].count(2) == 1  # read again
    assert all(text.count(QUESTION) in (1, 2) for text in made)
    for word in own.replace(QUESTION, "").split():
        assert all(word in text for text in made)


def test_a_prompt_that_asks_for_steps_is_not_told_again() -> None:
    assert not [text for text in built_in("{question} Think step by step.") if text.lower().count("step by step") > 1]
    assert len([text for text in built_in("{question} Name it.") if "step by step" in text]) == 1


def problem_configs(folder: Path) -> list[ProblemConfig]:
    own = folder / "own.jsonl"
    own.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": str(n + 1)}) + "\n" for n in range(3)))
    gsm8k = folder / "gsm8k.jsonl"
    gsm8k.write_text("".join(json.dumps({"question": f"{n} + 1?", "answer": f"#### {n + 1}"}) + "\n" for n in range(3)))
    return [
        ProblemConfig(name="largest_number", system="Be brief."),
        ProblemConfig(name="reasoning_gym:chain_sum"),
        ProblemConfig(name="gsm8k", path=str(gsm8k)),
        *(ProblemConfig(name="file", path=str(own), verifier=verifier) for verifier in ("exact", "numeric")),
        ProblemConfig(name="file", path=str(own), verifier="regex", pattern=r"\d+"),
        ProblemConfig(name="file", path=str(own), instruction="Tell me: {question}"),
    ]


def test_every_kind_of_problem_is_asked_in_other_words_and_judged_as_before(
    tmp_path: Path, template: PromptTemplate
) -> None:
    for config in problem_configs(tmp_path):
        problem = load_problem(config)
        wordings = plan_wordings(problem, config, ())
        assert wordings is not None
        assert wordings.own == problem.identity()["instruction"]
        examples = problem.examples(2, 0)[:2]
        [block] = make_blocks(Split("test", tuple(examples), ""), problem, template, 8, wordings.others)
        asked = [prompts_of(None, block), *(prompts_of(who, block) for who in wordings.trials)]
        assert len(set(asked)) == wordings.count
        for prompts in asked:
            for prompt, example in zip(prompts, examples, strict=True):
                assert example.question in prompt
                assert QUESTION not in prompt
                assert (config.system or "") in prompt
        for who in wordings.trials:
            assert prompts_of(Attempt(0, 0.7, 0, who.instruction), block) == prompts_of(who, block)


def test_the_users_wordings_replace_the_built_in_ones() -> None:
    config = ProblemConfig(name="largest_number")
    problem = load_problem(config)
    own = cast(Any, problem).instruction
    wordings = plan_wordings(problem, config, ("Ah: {question}", own))
    assert wordings is not None
    assert (wordings.own, list(wordings.others), wordings.count) == (own, ["Ah: {question}"], 2)


def test_where_there_is_nothing_to_try_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    config = ProblemConfig(name="largest_number")
    fixed = cast(Problem, SimpleNamespace(name="fixed"))
    with caplog.at_level(logging.INFO, "thickets"):
        assert plan_wordings(fixed, config, ()) is None
        assert plan_wordings(load_problem(config), config, (cast(Any, load_problem(config)).instruction,)) is None
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == [
        "controls.best_prompt has nothing to try"
    ] * 2


def test_a_wording_that_the_model_has_no_room_for_is_left_out(
    template: PromptTemplate, caplog: pytest.LogCaptureFixture
) -> None:
    config = ProblemConfig(name="largest_number")
    problem = load_problem(config)
    examples = problem.examples(4, 0)
    wordings = plan_wordings(problem, config, ("{question}" + "." * 40, "{question}" + "." * 80))
    assert wordings is not None

    def room(dots: int) -> int:
        asked = wordings.others["{question}" + "." * dots]
        return template.longest([template.render(asked.messages(example)) for example in examples])

    assert leave_out_too_long(wordings, examples, template, room(80)) == wordings
    with caplog.at_level(logging.WARNING, "thickets"):
        shorter = leave_out_too_long(wordings, examples, template, room(80) - 1)
    assert shorter is not None
    assert list(shorter.others) == ["{question}" + "." * 40]
    assert f"has {room(80)} tokens, {room(80) - 1} fit" in caplog.text
    assert leave_out_too_long(wordings, examples, template, room(40) - 1) is None


def wordings_of(*texts: str) -> Wordings:
    problem = load_problem(ProblemConfig(name="largest_number"))
    return Wordings("own {question}", dict.fromkeys(texts, problem))


@pytest.mark.parametrize(
    ("own", "answers", "chosen"),
    [("0001", ["0011", "0111"], 1), ("0001", ["0110", "1001"], 0), ("0101", ["1100", "0011"], None)],
)
def test_the_wording_with_most_of_the_validation_split_right_wins_and_among_equals_the_first(
    tmp_path: Path, own: str, answers: list[str], chosen: int | None
) -> None:
    wordings = wordings_of("a {question}", "b {question}")
    blocks = [Block("validation", 0, tuple(Example(f"e{i}", f"{i}?", "1") for i in range(4)), ("",) * 4)]
    given = {"base": own, **{who.id: text for who, text in zip(wordings.trials, answers, strict=True)}}
    rows = [
        (who, "validation", 0, f"e{place}", answer == "1", answer, 4, "stop", answer)
        for who, text in given.items()
        for place, answer in enumerate(text)
    ]
    write_rows(tmp_path / "shards", "s", rows)
    some, shards = population(2, [0.1], 0), tmp_path / "shards"
    book = ScoreBook(tmp_path / "scores.duckdb", shards, "run", some, blocks, JUDGE, VERDICTS)
    book.aggregate()
    book.register(wordings.trials)  # late, after their shard was taken in
    assert set(book.aggregate()["candidate_id"]) == set(given)
    with book.open() as store:
        found = choose(store, wordings.trials)
        assert store.question_counts("validation").is_empty()
    assert found == (None if chosen is None else wordings.trials[chosen])


def test_panels_name_the_wording_and_keep_its_text() -> None:
    wordings = wordings_of("a {question}", "b {question}")
    other = Reworded("b {question}")
    panel = best_prompt(wordings, other)
    assert (panel.label, panel.members, panel.detail) == ("best of 3 prompts", (other,), "b {question}")
    sampled = best_prompt_self_consistency(wordings, other, 2, 0.7, 5)
    assert sampled.label == "best of 3 prompts, 2 samples at t = 0.7"
    assert sampled.members == (Attempt(0, 0.7, 5, "b {question}"), Attempt(1, 0.7, 5, "b {question}"))
    own = best_prompt(wordings, None)
    assert (own.label, own.members, own.detail) == ("best of 3 prompts (the run's own)", (None,), "own {question}")
    assert best_prompt_self_consistency(wordings, None, 1, 0.7, 5).members == (Attempt(0, 0.7, 5),)
