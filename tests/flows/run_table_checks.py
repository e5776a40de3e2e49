"""Compares what SQL says of a finished run's experts, votes, outcomes and prompts with the run's own evaluation."""

from __future__ import annotations

from collections import Counter

import pytest

from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.scores.reader import ScoreReader
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus


def check_tables(scores: ScoreReader, summary: RunSummary) -> None:
    """Compare the tables of a finished run with its summary and with the vote that its evaluation takes."""
    found, experts = summary.evaluation, experts_of(summary)
    for split in ("validation", "test"):
        voted = vote(ballots(scores, split, experts), found.k, found.rule, Consensus(found.metric))
        rows = scores.query(
            "SELECT example_id, answer, correct, score, votes, n_abstain FROM votes "
            "WHERE wins AND split = $split ORDER BY position",
            {"split": split},
        )
        assert rows.to_dicts() == voted.select(rows.columns).to_dicts()
    sums = scores.query("SELECT sum(score) AS points, count_if(correct) AS n FROM votes WHERE wins AND split = 'test'")
    assert sums.row(0) == (found.ensemble.total, found.ensemble.n_correct)
    [chosen] = [
        point.accuracy
        for point in summary.validation_curve
        if (point.k, point.rule, point.method) == (found.k, found.rule, found.method)
    ]
    sums = scores.query("SELECT sum(score) AS points FROM votes WHERE wins AND split = 'validation'")
    assert sums.row(0) == (chosen.total,)
    outcomes = scores.query("FROM outcomes ORDER BY position")
    fates = Counter(outcomes["fate"])
    assert {
        name: fates[name] for name in type(summary.thicket.gains).model_fields
    } == summary.thicket.gains.model_dump()
    outcome = Counter(outcomes["outcome"])
    assert outcome["fixed"] == sum(fates[name] for name in ("format_fixed", "reasoning_fixed", "unclear_fixed"))
    assert (outcome["broken"], outcome["still wrong"]) == (fates["regressed"], fates["still_wrong"])
    assert outcomes["base_score"].sum() == found.base.total
    assert outcomes.height == found.base.n == sum(outcome.values())
    rows = scores.query("FROM experts ORDER BY rank")
    assert rows["rank"].to_list() == [*range(1, found.k + 1)]
    assert rows["candidate_id"].to_list() == experts["candidate_id"].to_list()
    assert rows["seed"].to_list() == [int(row.seed) for row in summary.experts]
    assert rows["selection_mean_score"].to_list() == pytest.approx([row.mean_score for row in summary.experts])
    assert rows["selection_accuracy"].to_list() == pytest.approx([row.n_correct / row.n for row in summary.experts])
    assert rows["n_tokens"].sum() == found.n_tokens.ensemble
    assert rows["test_mean_score"][0] == pytest.approx(found.test_curve[0].accuracy.value)
    assert rows["agreement"].is_between(0, 1).all()
    prompts = scores.query(
        "SELECT split, count(*) AS n FROM prompts JOIN examples USING (run_id, split, example_id) GROUP BY split"
    )
    assert dict(prompts.iter_rows()) == summary.split_sizes
