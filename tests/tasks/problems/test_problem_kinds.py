"""The table lists every problem and makes samples only when asked."""

from __future__ import annotations

import re
from pathlib import Path

from thickets.tasks.problems import ProblemConfig, all_kinds, load_problem, own_kinds
from thickets.tasks.problems.reasoning_gym_tasks import UNSAFE, UNUSABLE
from thickets.tasks.problems.shown import sample, settings, shown


def test_every_problem_is_listed_once_with_a_one_line_summary() -> None:
    entries = all_kinds()
    names = [entry.name for entry in entries]
    assert names[:4] == ["largest_number", "countdown", "signals", "gsm8k"]
    assert len(set(names)) == len(names) > 80
    assert all(entry.summary.endswith(".") and "\n" not in entry.summary for entry in entries)
    assert not set(names) & {f"reasoning_gym:{task}" for task in {**UNSAFE, **UNUSABLE}}


def test_options_are_named_as_in_a_config_and_have_the_problem_s_own_defaults() -> None:
    entries = {entry.name: entry for entry in all_kinds()}
    count, below, *_ = settings(entries["largest_number"])
    assert (count.name, count.default, below.name) == ("problem.options.count", 3, "problem.options.below")
    for name in ("largest_number", "signals", "reasoning_gym:chain_sum", "reasoning_gym:mini_sudoku"):
        prefix = "problem.options."
        own = {each.name.removeprefix(prefix): each for each in settings(entries[name]) if each.name.startswith(prefix)}
        defaults = {option: each.default for option, each in own.items()}
        alone = load_problem(ProblemConfig(name=name)).examples(3, seed=0)
        assert load_problem(ProblemConfig(name=name, options=defaults)).examples(3, seed=0) == alone
    assert [each.name for each in settings(entries["file"]) if each.required] == ["problem.path"]


def test_samples_show_the_prompt_and_an_answer_that_scores_one() -> None:
    for entry in all_kinds():
        if entry.name in ("largest_number", "signals", "gsm8k", "rocstories", "file", "reasoning_gym:chain_sum"):
            asked = sample(entry)
            problem, example = shown(entry)
            assert example.question in asked.prompt
            answer = problem.extract(asked.answer, example)
            assert answer is not None
            assert problem.score(answer, example)


def test_a_problem_s_own_columns_are_its_defaults() -> None:
    mbpp = {each.name: each.default for kind in all_kinds() if kind.name == "mbpp" for each in settings(kind)}
    assert (mbpp["problem.question_column"], mbpp["problem.answer_column"]) == ("text", "code")


def test_the_page_of_problems_has_a_row_for_each_with_its_own_columns() -> None:
    page = (Path(__file__).parents[3] / "docs" / "problems.md").read_text(encoding="utf-8")
    table = page.partition("## What there is")[2].partition("\n## ")[0]
    rows = {found[1]: found[2] for found in re.finditer(r"^\| `([\w:]+)` \| ([^|]*)", table, re.MULTILINE)}
    assert set(rows) == {*(kind.name for kind in own_kinds()), "reasoning_gym:TASK"}
    for kind in own_kinds():
        assert ("generated" in rows[kind.name]) is not kind.reads_data
        assert all(f"`{column}`" in rows[kind.name] for column in kind.columns.values())


def test_every_problem_says_where_its_questions_come_from() -> None:
    assert [kind.name for kind in all_kinds() if not kind.origin] == []
