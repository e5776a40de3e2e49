"""Controls in whole runs: scored beside the experts, in nobody's way, added later, and the same after a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from flows.config import RunConfig
from flows.findings import verdicts
from flows.history import find_run, open_scores
from flows.randopt import randopt
from flows.result_rows import result_rows
from flows.summary import RunSummary
from storage.errors import RunError
from storage.layout import Home
from storage.shards import list_shards
from tasks.units import Shard, ShardReport
from tasks.verdicts import points
from tasks.worker import ScoringWorker

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
OFF = {"self_consistency": False, "random_experts": False, "chance": False}


def outcome(summary: RunSummary) -> dict:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def rows(summary: RunSummary) -> pl.DataFrame:
    frames = [pl.read_parquet(path) for path in list_shards(shards_of(summary))]
    return pl.concat(frames).sort("candidate_id", "split", "example_id")


def shards_of(summary: RunSummary) -> Path:
    return Home(summary.folder.parents[1]).shards(summary.fingerprint)


def test_a_run_compares_the_ensemble_with_its_rivals(config: MakeConfig) -> None:
    summary = randopt(config(selection={"k_values": [3]}))
    found = summary.evaluation
    assert [row.label for row in result_rows(found)] == [
        "chance, one of the options at random",
        "base",
        "self-consistency, 3 samples at t = 0.7",
        "random experts, 3 of 9",
        "best single expert",
        "ensemble, majority vote of 3",
    ]
    chance, sampled, drawn = found.controls
    assert (chance.accuracy.value, chance.n_tokens) == (0.5, 0)
    assert sampled.accuracy.n == drawn.accuracy.n == 14
    written = rows(summary)
    on_test = written.filter(pl.col("split") == "test")
    attempts = on_test.filter(pl.col("candidate_id").str.starts_with("base~"))
    assert attempts["candidate_id"].unique().sort().to_list() == [f"base~t0.7s0#{index}" for index in range(3)]
    assert sampled.n_tokens == attempts["n_tokens"].sum()
    assert found.n_tokens.base == on_test.filter(pl.col("candidate_id") == "base")["n_tokens"].sum()
    assert sum(summary.n_tokens.values()) == written["n_tokens"].sum()
    assert set(written.filter(pl.col("split") != "test")["candidate_id"].str.starts_with("base~")) == {False}
    # Samples differ among each other and from the greedy answer.
    texts = on_test.filter(pl.col("candidate_id").str.starts_with("base")).group_by("candidate_id").agg("completion")
    assert texts["completion"].n_unique() == 4

    home = Home(config().storage.home)
    with open_scores(home, find_run(home, "latest")) as reader:
        assert reader.query("select count(*) from leaderboard").item() == 9
        assert reader.query("select sum(n_candidates) from sigma_statistics where split = 'selection'").item() == 9
        assert reader.query("select n_candidates from totals where split = 'selection'").item() == 9


def test_without_controls_the_same_experts_are_found_and_adding_them_later_scores_only_them(
    config: MakeConfig, tmp_path: Path
) -> None:
    elsewhere = {"home": str(tmp_path / "elsewhere")}
    full = randopt(config(storage=elsewhere))
    off = randopt(config(controls=OFF))
    assert (off.run_id, off.fingerprint) == (full.run_id, full.fingerprint)
    assert off.evaluation == full.evaluation.model_copy(update={"controls": ()})
    assert "controls" not in off.n_tokens
    assert (off.folder / "manifest.json").read_bytes() == (full.folder / "manifest.json").read_bytes()
    assert len(verdicts(off)) == 3
    greedy = {path.name: path.stat().st_mtime_ns for path in list_shards(shards_of(off))}
    assert set(greedy) < {path.name for path in list_shards(shards_of(full))}

    later = randopt(config())
    assert outcome(later) == outcome(full)
    assert {path.name: path.stat().st_mtime_ns for path in list_shards(shards_of(off)) if path.name in greedy} == greedy
    before = rows(later)
    assert before.equals(rows(full))
    warmer = randopt(config(controls={"temperature": 1.5, "random_experts": False}))
    assert warmer.run_id == full.run_id
    assert [control.name for control in warmer.evaluation.controls] == ["chance", "self_consistency"]
    new = rows(warmer).join(before, on=["candidate_id", "split", "example_id"], how="anti")
    assert new["candidate_id"].unique().sort().to_list() == [f"base~t1.5s0#{i}" for i in range(warmer.evaluation.k)]


def test_a_run_stopped_among_its_controls_ends_with_the_same_summary(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = {"k_values": [3]}
    undisturbed = randopt(config(selection=three, storage={"home": str(tmp_path / "undisturbed")}))
    score = ScoringWorker.score
    left = [2]  # of six

    def stop_among_controls(self: ScoringWorker, shard: Shard) -> ShardReport:
        if "base~" in shard_members(shard):
            if left[0] == 0:
                raise RunError("planted")
            left[0] -= 1
        return score(self, shard)

    with monkeypatch.context() as planted:
        planted.setattr(ScoringWorker, "score", stop_among_controls)
        with pytest.raises(RunError, match="planted"):
            randopt(config(selection=three))
    resumed = randopt(config(selection=three))
    assert outcome(resumed) == outcome(undisturbed)
    assert rows(resumed).equals(rows(undisturbed))


def shard_members(shard: Shard) -> str:
    return " ".join("base" if who is None else who.id for who in shard.candidates)


def test_the_rival_of_equal_cost_is_judged_right_after_the_base(config: MakeConfig) -> None:
    summary = randopt(config(selection={"k_values": [3]}))
    rival = next(control for control in summary.evaluation.controls if control.name == "self_consistency")
    cost = f"{summary.evaluation.n_tokens.ensemble / rival.n_tokens:.2f}"
    sentence = verdicts(summary)[1].sentence
    assert f"self-consistency (for {cost} times its tokens): {points(rival.ensemble_minus)} points" in sentence
