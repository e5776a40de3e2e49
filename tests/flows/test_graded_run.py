"""A whole run whose verifier gives a part of the score: ranked, chosen and judged by mean scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.run_table_checks import check_tables
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.ready_queries import ready_queries
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.sentences import findings
from thickets.storage.home import Home
from thickets.storage.scores.database import BASE_ID

# The nearer a digit is to the gold one, the higher its score; three quarters are right.
_VERIFIER = """
def judge(text, example):
    answer = text if text in tuple("01234") else str(sum(map(ord, text)) % 5)
    return answer, 1 - abs(int(answer) - int(example.answer)) / 4
"""


def test_a_run_with_scores_in_parts(
    config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    (tmp_path / "near_digits.py").write_text(_VERIFIER)
    lines = [json.dumps({"question": f"{n}?", "answer": str(n * n % 5)}) for n in range(60)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    problem = {
        "name": "file",
        "path": str(tmp_path / "questions.jsonl"),
        "verifier": "near_digits:judge",
        "right_at": 0.75,
    }
    selection = {"k_values": [1, 3], "methods": ["top_k", "diverse"]}
    scoring = {"examples_per_block": 4, "candidates_per_shard": 2, "racing": {"z": 1.0}}
    population = {"size": 10, "sigmas": [0.05, 0.1]}
    summary = randopt(config(problem=problem, selection=selection, scoring=scoring, population=population))
    assert summary.is_graded
    found, home = summary.evaluation, Home(config().storage.home)
    with open_scores(home, find_run(home, summary.run_id)) as scores:
        board = scores.leaderboard()
        ranked = board.sort(["points", "seed", "sigma"], descending=[True, False, False])
        assert board.equals(ranked)
        assert (board["points"] % 1000 != 0).any()
        assert (scores.query("SELECT DISTINCT score FROM scores")["score"] % 250 == 0).all()
        assert scores.query("SELECT bool_and(correct = (score >= 750)) AS ok FROM scores")["ok"].item()
        base = scores.answers("test", [BASE_ID])
        assert (found.base.points, found.base.n_correct) == (base["score"].sum(), base["correct"].sum())
        check_tables(scores, summary)
        assert summary.race is not None
        for query in ready_queries().values():
            rows = scores.query(query.sql)
            assert rows.height > 0 or query.name in ("fixed", "broken", "never_right", "agreement")
        assert scores.query(ready_queries()["hardest"].sql).height == summary.race.n_common
    assert all(expert.points is not None and expert.points >= 750 * expert.n_correct for expert in summary.experts)
    assert "chance" not in [control.name for control in found.controls]  # what a guess scores in part is not known
    assert any("points of the mean score" in line for line in findings(summary))
