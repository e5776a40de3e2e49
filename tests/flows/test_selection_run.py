"""Whole runs with every method and vote rule listed: what is chosen, kept and shown; a stop changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from rich.console import Console

from benchmarks.complete_scores import CompleteScores, complete_scores, merge_scores
from benchmarks.replay import CHOSEN, METHODS, RULES, own_division, replay
from thickets.flows.cli.tables_results import show_everything
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import example_votes, find_run, load_summary, open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import RunError
from thickets.storage.home import Home
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.merging.directions import best, merge
from thickets.tasks.scoring.units import Shard, ShardReport
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.seeds import candidates_of
from thickets.tasks.types import Candidate, Merge

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
K_VALUES = [1, 2, 3]
EVERYTHING = {
    "methods": ["top_k", "shrunken", "diverse"],
    "votes": ["majority", "weighted"],
    "k_values": K_VALUES,
}
POPULATION = {"size": 18, "sigmas": [0.05, 0.1, 0.2]}
# A tiny model of random weights is right about half of the time, so that the methods' orders differ.
_VERIFIER = """
def judge(text, example):
    answer = "odd" if sum(map(ord, text)) % 2 else "even"
    return answer, answer == example.answer
"""


@pytest.fixture
def config(config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeConfig:
    """The shared configuration, asking for something that a tiny model can get right."""
    (tmp_path / "parity_of_text.py").write_text(_VERIFIER)
    monkeypatch.syspath_prepend(tmp_path)
    lines = [{"question": f"{n}?", "answer": "odd" if n % 3 else "even"} for n in range(80)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    problem = {"name": "file", "path": str(tmp_path / "questions.jsonl"), "verifier": "parity_of_text:judge"}
    sections = {"problem": problem, "data": {"selection": 30, "validation": 20, "test": 14}, "population": POPULATION}
    sections["scoring"] = {"examples_per_block": 15, "candidates_per_shard": 2}
    return lambda **others: config(**(sections | others))


def outcome(summary: RunSummary) -> dict[str, Any]:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def ids(summary: RunSummary) -> list[str]:
    return [Candidate(int(expert.seed), expert.sigma).id for expert in summary.experts]


def test_every_listed_option_competes_on_validation_and_the_winner_is_what_votes(config: MakeConfig) -> None:
    summary = randopt(config(selection=EVERYTHING))
    found = summary.evaluation
    curve = summary.validation_curve
    assert {(p.method, p.rule, p.k) for p in curve} == {
        (m, r, k) for m in EVERYTHING["methods"] for r in EVERYTHING["votes"] for k in K_VALUES
    }
    [chosen] = [p for p in curve if (p.method, p.rule, p.k) == (found.method, found.rule, found.k)]
    best = max(p.accuracy.n_correct for p in curve)
    assert chosen.accuracy.n_correct == best
    assert found.k == min(p.k for p in curve if p.accuracy.n_correct == best)

    manifest = EnsembleManifest.load(summary.folder / "manifest.json")
    assert (manifest.method, manifest.vote) == (found.method, found.rule)
    assert [expert.weight for expert in manifest.experts] == [expert.weight for expert in summary.experts]
    run = mlflow.MlflowClient(summary.tracking.mlflow_uri).get_run(summary.tracking.mlflow_run_id)
    assert run.data.tags["thickets.method"] == found.method
    assert run.data.tags["thickets.vote"] == found.rule
    assert "validation.diverse.weighted.accuracy_by_k" in run.data.metrics


@pytest.mark.parametrize("method", ["shrunken", "diverse"])
@pytest.mark.slow
def test_experts_follow_the_method_and_the_best_single_expert_stays_the_first_of_all(
    config: MakeConfig, method: str
) -> None:
    only = {"methods": [method], "votes": ["weighted"], "k_values": [5]}
    summary = randopt(config(selection=only, controls={"best_prompt": False}))
    home = Home(summary.folder.parents[1])
    folder = find_run(home, "latest")
    assert load_summary(folder) == summary
    with open_scores(home, folder) as reader:
        board = reader.leaderboard("selection")
        right = dict(reader.query(
            "select candidate_id, count_if(correct) from scores where split = 'test' group by all"
        ).iter_rows())  # fmt: skip
        votes = example_votes(reader, summary)
        asked = set(reader.query("select distinct candidate_id from scores where split = 'validation'")["candidate_id"])
    # This is what the test is about: the methods' orders are not the leaderboard's.
    assert ids(summary) != board["candidate_id"].to_list()[:5]
    assert summary.evaluation.best_single.n_correct == right[board["candidate_id"][0]]
    assert asked == {"base", *ids(summary)}
    assert votes["who"].unique().sort().to_list() == ["base", *(f"expert {rank}" for rank in range(1, 6)), "vote"]
    out = StringIO()
    show_everything(summary, Console(file=out, width=160), votes)
    assert f"weighted vote of 5 ({method})" in out.getvalue()
    weights = [expert.weight for expert in summary.experts]
    assert weights == sorted(weights, reverse=True) if method == "shrunken" else True


@pytest.mark.slow
def test_a_run_of_top_k_alone_is_what_it_was_beside_other_methods(config: MakeConfig, tmp_path: Path) -> None:
    plain = randopt(config(selection={"k_values": K_VALUES}))
    full = randopt(config(selection=EVERYTHING, storage={"home": str(tmp_path / "other")}))
    of_top_k = [p for p in full.validation_curve if p.method == "top_k"]
    assert tuple(of_top_k) == plain.validation_curve
    assert full.evaluation.best_single == plain.evaluation.best_single
    assert full.run_id != plain.run_id
    assert full.fingerprint == plain.fingerprint


@pytest.mark.slow
def test_a_run_that_is_stopped_anywhere_ends_with_the_same_choice(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = {"selection": EVERYTHING}
    undisturbed = randopt(config(**sections, storage={"home": str(tmp_path / "undisturbed")}))
    score = ScoringWorker.score
    for split, allowed in (("selection", 5), ("validation", 2), ("test", 1)):
        left = [allowed]

        def stop(self: ScoringWorker, shard: Shard, split: str = split, left: list[int] = left) -> ShardReport:
            if shard.split == split:
                if left[0] == 0:
                    raise RunError("planted")
                left[0] -= 1
            return score(self, shard)

        with monkeypatch.context() as planted:
            planted.setattr(ScoringWorker, "score", stop)
            with pytest.raises(RunError, match="planted"):
                randopt(config(**sections))
    resumed = randopt(config(**sections))
    assert outcome(resumed) == outcome(undisturbed)
    manifests = [(each.folder / "manifest.json").read_bytes() for each in (resumed, undisturbed)]
    assert manifests[0] == manifests[1]


def merges_of_best(table: CompleteScores, k: int, radii: list[float]) -> list[Merge]:
    """Merges of those that are best on the 30 selection questions, of equals the earlier seed, as a run ranks them."""
    ranked = table.population.with_columns(right=table.correct[1:, :30].sum(axis=1)).sort(
        "right", "seed", descending=[True, False]
    )
    best_ones = candidates_of(ranked.head(k))
    return [merge(best_ones, best([0.0] * k, k), radius) for radius in radii]


@pytest.mark.slow
def test_the_benchmark_replays_what_a_run_does(config: MakeConfig, tmp_path: Path) -> None:
    summary = randopt(config(selection=EVERYTHING, merge={"directions": ["best"], "k": [3], "radii": [0.5, 1.0]}))
    other_home = config(storage={"home": str(tmp_path / "complete")})
    table = complete_scores(other_home)
    assert table.correct.shape == (19, 64)
    assert summary.merge is not None
    merges = merges_of_best(table, 3, [trial.radius for trial in summary.merge.trials])
    assert [merge.id for merge in merges] == [trial.id for trial in summary.merge.trials]
    right = merge_scores(other_home, "validation", merges)
    assert [sum(each) for each in right] == [trial.accuracy.n_correct for trial in summary.merge.trials]
    division = own_division(table, np.arange(18))
    replayed = replay(table, division, K_VALUES)
    found = summary.evaluation
    chosen = replayed[CHOSEN]
    assert (chosen.choice.method, chosen.choice.rule, chosen.choice.k) == (found.method, found.rule, found.k)
    assert int(chosen.correct.sum()) == found.ensemble.n_correct
    assert int(table.correct[0][division.test].sum()) == found.base.n_correct
    for method in METHODS:
        for rule in RULES:
            curve = [p for p in summary.validation_curve if (p.method, p.rule) == (method, rule)]
            best = max(curve, key=lambda p: (p.accuracy.n_correct, -p.k))
            assert replayed[f"{method}/{rule}"].choice == best
