"""The catalogue lists every problem and makes samples only when asked."""

from __future__ import annotations

from thickets.tasks.problems import ProblemConfig, catalogue, load_problem
from thickets.tasks.problems.reasoning_gym_tasks import UNSAFE, UNUSABLE


def test_every_problem_is_listed_once_with_a_one_line_summary() -> None:
    entries = catalogue()
    names = [entry.name for entry in entries]
    assert names[:4] == ["largest_number", "countdown", "signals", "gsm8k"]
    assert len(set(names)) == len(names) > 80
    assert all(entry.summary.endswith(".") and "\n" not in entry.summary for entry in entries)
    assert not set(names) & {f"reasoning_gym:{task}" for task in {**UNSAFE, **UNUSABLE}}


def test_options_are_named_as_in_a_config_and_have_the_problem_s_own_defaults() -> None:
    entries = {entry.name: entry for entry in catalogue()}
    count, below, *_ = entries["largest_number"].options()
    assert (count.name, count.default, below.name) == ("problem.options.count", 3, "problem.options.below")
    for name in ("largest_number", "signals", "reasoning_gym:chain_sum", "reasoning_gym:mini_sudoku"):
        prefix = "problem.options."
        own = {each.name.removeprefix(prefix): each for each in entries[name].options() if each.name.startswith(prefix)}
        defaults = {option: each.default for option, each in own.items()}
        alone = load_problem(ProblemConfig(name=name)).examples(3, seed=0)
        assert load_problem(ProblemConfig(name=name, options=defaults)).examples(3, seed=0) == alone
    assert [each.name for each in entries["file"].options() if each.required] == ["problem.path"]


def test_samples_show_the_prompt_and_an_answer_that_scores_one() -> None:
    for entry in catalogue():
        if entry.name in ("largest_number", "signals", "gsm8k", "file", "reasoning_gym:chain_sum"):
            sample = entry.sample()
            problem, example = entry.make()
            assert example.question in sample.prompt
            answer = problem.extract(sample.answer, example)
            assert answer is not None
            assert problem.score(answer, example)
