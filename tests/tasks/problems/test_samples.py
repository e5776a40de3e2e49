"""Sample files: every problem with data has one, its gold answers prove themselves, and it can be asked at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thickets.tasks.problems import Kind, Problem, ProblemConfig, find_kind, load_problem, own_kinds
from thickets.tasks.problems.shown import sample_data, sample_images
from thickets.tasks.types import Example

WITH_DATA = [kind.name for kind in own_kinds() if kind.reads_data]
# Of another problem's answers, no reply of these is right.
UNANSWERED = ["", " \n", "I do not know.", "<answer></answer>", r"\boxed{}", "```\n```"]


def kind_of(name: str) -> Kind:
    kind = find_kind(name)
    assert kind is not None
    return kind


def asked(name: str, folder: Path) -> tuple[Problem, list[Example]]:
    kind, path = kind_of(name), folder / f"{name}.jsonl"
    path.write_text(sample_data(kind), encoding="utf-8")
    for place, content in sample_images(kind).items():
        (path.parent / place).parent.mkdir(exist_ok=True)
        (path.parent / place).write_bytes(content)
    config = ProblemConfig.model_validate({"name": name, **kind.sample_config, "path": str(path), "test_path": None})
    problem = load_problem(config)
    return problem, problem.examples(0, 0)


@pytest.mark.parametrize("name", WITH_DATA)
def test_gold_answers_of_a_sample_are_right_and_no_others(name: str, tmp_path: Path) -> None:
    problem, examples = asked(name, tmp_path)
    assert 8 <= len(examples) <= 12
    for place, example in enumerate(examples):
        assert problem.messages(example)[-1]["content"].strip()
        answer = problem.extract(example.answer, example)
        assert answer is not None, example
        assert problem.score(answer, example) >= problem.right_at
        other = problem.extract(examples[place - 1].answer, example)
        assert other is None or other == answer or problem.score(other, example) < problem.right_at
        for reply in UNANSWERED:
            nothing = problem.extract(reply, example)
            assert nothing is None or problem.score(nothing, example) < problem.right_at


@pytest.mark.parametrize("name", ["largest_number", "countdown", "signals", "reasoning_gym:chain_sum"])
def test_questions_of_a_generated_problem_are_written_as_they_are_asked(name: str) -> None:
    from thickets.tasks.problems.reasoning_gym import kinds

    [kind] = [each for each in (*own_kinds(), *kinds()) if each.name == name]
    rows = [json.loads(line) for line in sample_data(kind).splitlines()]
    problem = load_problem(ProblemConfig(name=name))
    assert [row["question"] for row in rows] == [
        problem.messages(each)[-1]["content"] for each in problem.examples(8, seed=0)
    ]
    assert all(row["answer"] for row in rows)
