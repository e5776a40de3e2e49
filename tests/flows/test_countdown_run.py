"""Whole tiny runs: countdown from a seed and from a file, and answers judged by a reward function of a trainer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.tasks.problems import ProblemConfig, load_problem

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

LENGTH = '''
def some_text(prompts, completions, answer, **columns):
    """Half of the rewards for any text, and all of them for the gold answer: from -1 to 1."""
    return [1.0 if text == gold else 0.0 for text, gold in zip(completions, answer)]
'''


def file_of_numbers(tmp_path: Path) -> dict[str, Any]:
    made = load_problem(ProblemConfig(name="countdown")).examples(60, seed=5)
    path = tmp_path / "numbers.jsonl"
    rows = [{"nums": each.metadata["numbers"], "target": each.metadata["target"]} for each in made]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "countdown", "path": str(path)}


def judged_by_a_reward(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "tiny_rewards.py").write_text(LENGTH)
    path = tmp_path / "questions.jsonl"
    rows = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "file", "path": str(path), "verifier": "trl:tiny_rewards:some_text", "score_range": [-1, 1]}


@pytest.mark.parametrize("kind", ["seed", "file"])
def test_countdown_runs_to_its_report(kind: str, config: Callable[..., RunConfig], tmp_path: Path) -> None:
    section = {"name": "countdown"} if kind == "seed" else file_of_numbers(tmp_path)
    summary = randopt(config(problem=section))
    assert (Path(summary.folder) / "report.html").is_file()
    assert summary.problem == "countdown"
    assert summary.split_sizes == {"selection": 12, "validation": 10, "test": 14}
    assert summary.evaluation.ensemble.n_correct == 0  # a model of random weights reaches nothing


def test_a_reward_function_ranks_by_its_rewards(
    config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    summary = randopt(config(problem=judged_by_a_reward(tmp_path)))
    assert (Path(summary.folder) / "report.html").is_file()
    # Half marks for every reply that is not empty, which are -1 to 1 as 0 to 1.
    assert summary.base_selection.is_graded
    assert 0 < summary.base_selection.value <= 0.5
    assert summary.base_selection.n_correct == 0
