"""The catalogue lists every problem and makes samples only when asked."""

from __future__ import annotations

from thickets.tasks.problems import catalogue
from thickets.tasks.problems.reasoning_gym_tasks import UNSAFE, UNUSABLE


def test_every_problem_is_listed_once_with_a_one_line_summary() -> None:
    entries = catalogue()
    names = [entry.name for entry in entries]
    assert names[:4] == ["largest_number", "signals", "gsm8k", "file"]
    assert len(set(names)) == len(names) > 80
    assert all(entry.summary.endswith(".") and "\n" not in entry.summary for entry in entries)
    assert not set(names) & {f"reasoning_gym:{task}" for task in {**UNSAFE, **UNUSABLE}}


def test_samples_show_the_prompt_and_an_answer_that_scores_one() -> None:
    for entry in catalogue():
        if entry.name in ("largest_number", "signals", "gsm8k", "file", "reasoning_gym:chain_sum"):
            sample = entry.sample()
            problem, example = entry.make()
            assert example.question in sample.prompt
            answer = problem.extract(sample.answer, example)
            assert answer is not None
            assert problem.verify(answer, example)
