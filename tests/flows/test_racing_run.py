"""Whole runs with racing: who is asked what, that it can be stopped anywhere, and that figures about all stay fair."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest
from rich.console import Console

from tests.flows.text_parity_problem import outcome, write_problem
from thickets.flows.cli.tables_results import sigma_table
from thickets.flows.config.file import parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.randopt import randopt
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import RunError
from thickets.storage.home import Home
from thickets.storage.scores.reader import ScoreReader
from thickets.storage.shards.file import list_shards
from thickets.tasks.results.racing import Race
from thickets.tasks.scoring.units import Shard, ShardReport
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.selection.diversity import pool_size
from thickets.tasks.types import Candidate

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
N, N_SELECTION, PER_BLOCK = 24, 30, 6
CERTAIN = {"z": 1000}
SHARP = {"z": 0.2, "keep": 0.6}


@pytest.fixture(scope="module")
def make(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeConfig]:
    """Make a configuration that asks for what a tiny model can get right, in a home of its own if none is given."""
    root = tmp_path_factory.mktemp("racing")
    problem = write_problem(root)

    def config(racing: dict[str, Any] | None = None, home: Path | None = None, **others: Any) -> RunConfig:
        values = {
            "name": "tiny",
            "model": str(tiny_model),
            "problem": problem,
            "data": {"selection": N_SELECTION, "validation": 20, "test": 14},
            "population": {"size": N, "sigmas": [0.05, 0.1, 0.2]},
            "decoding": {"max_tokens": 8},
            "engine": {"kind": "transformers", "device": "cpu", "batch_size": 6},
            "scoring": {"examples_per_block": PER_BLOCK, "candidates_per_shard": 2, "racing": racing},
            "selection": {"k_values": [1, 2, 3]},
            "controls": {"best_prompt": False},
            "storage": {"home": str(home or tmp_path_factory.mktemp("home"))},
        }
        return parse_config(values | others)

    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(root)
        yield config


@pytest.fixture(scope="module")
def raced(make: MakeConfig, prefect_server: object) -> RunSummary:
    return randopt(make(SHARP))


@pytest.fixture(scope="module")
def plain(make: MakeConfig, prefect_server: object) -> RunSummary:
    return randopt(make())


def race_of(summary: RunSummary) -> Race:
    assert summary.race is not None
    return summary.race


@contextmanager
def scores_of(summary: RunSummary) -> Iterator[ScoreReader]:
    home = Home(summary.folder.parents[1])
    with open_scores(home, find_run(home, summary.run_id)) as reader:
        yield reader


def n_units(summary: RunSummary) -> int:
    """Candidates on blocks of the selection split in the shards on disk, the base left out."""
    home = Home(summary.folder.parents[1])
    frame = pl.concat([pl.read_parquet(path) for path in list_shards(home.shards(summary.fingerprint))])
    asked = frame.filter((pl.col("split") == "selection") & ~pl.col("candidate_id").str.starts_with("base"))
    units = asked.select("candidate_id", "block")
    assert units.height == PER_BLOCK * units.unique().height, "something was scored twice"
    return units.unique().height


@pytest.mark.slow
def test_who_cannot_win_is_dropped_and_the_same_experts_are_found(make: MakeConfig, plain: RunSummary) -> None:
    certain = randopt(make(CERTAIN))
    race = race_of(certain)
    assert plain.race is None
    assert race.saved > 0
    assert certain.fingerprint == plain.fingerprint
    assert certain.run_id != plain.run_id
    assert (certain.experts, certain.evaluation) == (plain.experts, plain.evaluation)
    assert certain.validation_curve == plain.validation_curve
    # What is counted is what was asked.
    assert n_units(plain) == N * 5
    assert race.n_answers == PER_BLOCK * n_units(certain)
    assert race.n_answers_of_all == N * N_SELECTION


def test_the_experts_are_the_best_of_those_asked_everything(raced: RunSummary, plain: RunSummary) -> None:
    race = race_of(raced)
    counts = [each.n_candidates for each in race.rounds]
    assert counts[0] == N
    assert counts == sorted(counts, reverse=True)
    assert 3 <= counts[-1] < N / 2
    with scores_of(plain) as reader:
        truth = dict(reader.leaderboard("selection").select("candidate_id", "n_correct").iter_rows())
    with scores_of(raced) as reader:
        board = reader.leaderboard("selection")
        by_view = reader.query("SELECT candidate_id, rank FROM leaderboard")
    assert board.height == race.n_complete
    assert by_view["candidate_id"].to_list() == board["candidate_id"].to_list()
    assert all(truth[name] == count for name, count in board.select("candidate_id", "n_correct").iter_rows())
    assert set(board["n"]) == {N_SELECTION}
    chosen = [Candidate(int(expert.seed), expert.sigma).id for expert in raced.experts]
    assert chosen == board["candidate_id"].to_list()[: len(chosen)]


def test_what_is_said_about_all_candidates_is_about_the_same_questions(raced: RunSummary, plain: RunSummary) -> None:
    """The statistics are those of a run without racing on the first block alone."""
    assert race_of(raced).n_common == PER_BLOCK
    assert [row.n_candidates for row in raced.sigmas] == [N // 3] * 3
    with scores_of(plain) as reader:
        first = reader.query(
            "SELECT sigma, candidate_id, count_if(correct) AS n_right FROM scores JOIN candidates USING (candidate_id) "
            "WHERE split = 'selection' AND block = 0 AND position >= 0 GROUP BY ALL"
        )
        base = reader.query(
            "SELECT count_if(correct) FROM scores WHERE split = 'selection' AND block = 0 AND candidate_id = 'base'"
        ).item()
    assert (raced.base_selection.n_correct, raced.base_selection.n) == (base, PER_BLOCK)
    thicket = raced.thicket
    assert thicket is not None
    for row, scores in zip(raced.sigmas, thicket.sigmas, strict=True):
        n_right = first.filter(pl.col("sigma") == row.sigma)["n_right"]
        assert row.mean_accuracy == pytest.approx(n_right.sum() / len(n_right) / PER_BLOCK)
        assert row.max_accuracy == n_right.max() / PER_BLOCK
        assert row.n_at_least_base == (n_right >= base).sum()
        assert (scores.n_examples, scores.base_n_correct, scores.n_candidates) == (PER_BLOCK, base, N // 3)
        assert sum(count * times for count, times in scores.histogram.items()) == n_right.sum()
    assert thicket.best.observed.n == PER_BLOCK
    with scores_of(raced) as reader:
        outcomes = reader.candidate_outcomes()
        assert outcomes.height == N
        assert {len(row) for row in outcomes["correct"]} == {PER_BLOCK}
        assert set(reader.question_counts()["n"]) == {N // 3}


def test_a_race_is_told(raced: RunSummary, plain: RunSummary) -> None:
    out = StringIO()
    Console(file=out, width=300).print(sigma_table(raced))
    assert "6 selection questions that every candidate was asked (base" in out.getvalue()
    assert f"of {N * N_SELECTION} selection answers" in " ".join(findings(raced))
    page = (raced.folder / "report.html").read_text()
    assert "on the 6 selection questions that every candidate was asked" in page
    assert "<dt>Racing</dt>" in page
    assert "<dt>Racing</dt>" not in (plain.folder / "report.html").read_text()
    run = mlflow.MlflowClient(raced.tracking.mlflow_uri).get_run(raced.tracking.mlflow_run_id)
    assert run.data.metrics["racing.saved"] == pytest.approx(race_of(raced).saved)


@pytest.mark.slow
def test_a_run_that_is_stopped_anywhere_ends_with_the_same_race(
    make: MakeConfig, raced: RunSummary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = ScoringWorker.score
    # The first round has 13 shards: stopped within it, between two rounds, and in a later one.
    for allowed in (5, 8, 10):
        left = [allowed]

        def stop(self: ScoringWorker, shard: Shard, left: list[int] = left) -> ShardReport:
            if left[0] == 0:
                raise RunError("planted")
            left[0] -= 1
            return score(self, shard)

        with monkeypatch.context() as planted:
            planted.setattr(ScoringWorker, "score", stop)
            with pytest.raises(RunError, match="planted"):
                randopt(make(SHARP, tmp_path))
    resumed = randopt(make(SHARP, tmp_path))
    assert outcome(resumed) == outcome(raced)
    assert n_units(resumed) == n_units(raced)
    manifests = [(each.folder / "manifest.json").read_bytes() for each in (resumed, raced)]
    assert manifests[0] == manifests[1]


@pytest.mark.slow
def test_turned_off_only_what_is_missing_is_scored_and_turned_on_again_nothing_is_different(
    make: MakeConfig, raced: RunSummary, plain: RunSummary, tmp_path: Path
) -> None:
    """Everybody has a whole score in the shards at last; the race is the same as without."""
    first = randopt(make(SHARP, tmp_path))
    assert n_units(first) < N * 5
    off = randopt(make(None, tmp_path))
    assert n_units(off) == N * 5  # and nothing twice
    assert outcome(off) == outcome(plain)
    shutil.rmtree(first.folder)
    assert outcome(randopt(make(SHARP, tmp_path))) == outcome(raced)


@pytest.mark.slow
def test_diverse_has_its_whole_pool(make: MakeConfig) -> None:
    summary = randopt(make(SHARP, selection={"methods": ["top_k", "diverse"], "k_values": [1, 2]}))
    assert race_of(summary).n_complete == pool_size(2)
