"""Controls in whole runs: scored beside the experts, in nobody's way, added later, and the same after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.storage.storage_samples import answers_in
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.rows import result_rows
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.sentences import findings, verdicts
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import RunError
from thickets.storage.home import Home
from thickets.storage.models.base import resolve_model
from thickets.storage.shards.file import list_shards
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.text import points
from thickets.tasks.scoring.units import Shard, ShardReport
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.types import Attempt, Average, Candidate, Reworded

pytestmark = pytest.mark.usefixtures("prefect_server")

MakeConfig = Callable[..., RunConfig]
OFF = dict.fromkeys(("self_consistency", "random_experts", "chance", "weight_average", "best_prompt"), False)


def outcome(summary: RunSummary) -> dict:
    """Everything a run found, without what differs from one execution to the next."""
    return summary.model_dump(exclude={"wall_s", "engine", "tracking", "folder"})


def rows(summary: RunSummary) -> pl.DataFrame:
    return answers_in(shards_of(summary)).sort("candidate_id", "split", "example_id")


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
        "weight average of 3",
        "best of 5 prompts (the run's own)",
        "best of 5 prompts (the run's own), 3 samples at t = 0.7",
        "best single expert",
        "ensemble, majority vote of 3",
    ]
    chance, sampled, drawn, averaged, asked, asked_often = found.controls
    assert (chance.accuracy.value, chance.n_tokens) == (0.5, 0)
    assert {control.accuracy.n for control in (sampled, drawn, averaged, asked, asked_often)} == {14}
    # The run's own wording is no worse than the others, and costs nothing once more.
    assert (asked.accuracy, asked.n_tokens) == (found.base, found.n_tokens.base)
    assert (asked_often.accuracy, asked_often.n_tokens) == (sampled.accuracy, sampled.n_tokens)
    assert asked.detail == asked_often.detail == "{question} Reply with just the number."
    written = rows(summary)
    on_test = written.filter(pl.col("split") == "test")
    attempts = on_test.filter(pl.col("candidate_id").str.starts_with("base~t"))
    assert attempts["candidate_id"].unique().sort().to_list() == [f"base~t0.7s0#{index}" for index in range(3)]
    assert sampled.n_tokens == attempts["n_tokens"].sum()
    assert found.n_tokens.base == on_test.filter(pl.col("candidate_id") == "base")["n_tokens"].sum()
    assert sum(summary.n_tokens.values()) == written["n_tokens"].sum()
    assert averaged.n_tokens == on_test.filter(pl.col("candidate_id").str.starts_with("base~a"))["n_tokens"].sum()
    elsewhere = written.filter(pl.col("split") != "test", pl.col("candidate_id").str.starts_with("base~"))
    assert elsewhere.select("split", "candidate_id").n_unique() == 4  # the other wordings
    assert set(elsewhere["split"]) == {"validation"}
    # Samples differ among each other and from the greedy answer.
    texts = on_test.filter(pl.col("candidate_id").str.starts_with("base")).group_by("candidate_id").agg("completion")
    assert texts["completion"].n_unique() == texts.height == 5

    home = Home(config().storage.home)
    with open_scores(home, find_run(home, "latest")) as reader:
        assert reader.query("select count(*) from leaderboard").item() == 9
        assert reader.query("select sum(n_candidates) from sigma_statistics where split = 'selection'").item() == 9
        assert reader.query("select n_candidates from totals where split = 'selection'").item() == 9


@pytest.mark.slow
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
    assert [control.name for control in warmer.evaluation.controls] == [
        "chance", "self_consistency", "weight_average", "best_prompt", "best_prompt_self_consistency",
    ]  # fmt: skip
    new = rows(warmer).join(before, on=["candidate_id", "split", "example_id"], how="anti")
    assert new["candidate_id"].unique().sort().to_list() == [f"base~t1.5s0#{i}" for i in range(warmer.evaluation.k)]


@pytest.mark.slow
def test_a_run_stopped_among_its_controls_ends_with_the_same_summary(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = {"k_values": [3]}
    undisturbed = randopt(config(selection=three, storage={"home": str(tmp_path / "undisturbed")}))
    score = ScoringWorker.score
    for split, stop_at in (("validation", 2), ("test", 2)):  # of four shards of the wordings; of nine of the rest
        left = [stop_at]

        def stop_among_controls(
            self: ScoringWorker, shard: Shard, split: str = split, left: list[int] = left
        ) -> ShardReport:
            if shard.split == split and "base~" in shard_members(shard):
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
    told = {
        "self_consistency": "self-consistency",
        "random_experts": "as many candidates drawn at random",
        "weight_average": "the weight average of its experts",
        "best_prompt": "the base under the best prompt",
        "best_prompt_self_consistency": "self-consistency under the best prompt",
    }
    rivals = [control for control in summary.evaluation.controls if control.name in told]
    for rival, each in zip(rivals, verdicts(summary)[2:7], strict=True):
        cost = f"{summary.evaluation.n_tokens.ensemble / rival.n_tokens:.2f}"
        words = f"{told[rival.name]} (for {cost} times its tokens): {points(rival.ensemble_minus)} points"
        assert words in each.sentence


def questions(folder: Path) -> dict:
    """A file that the tiny model gets right more often in other words than in the run's own."""
    path = folder / "questions.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"{n} + {7 * n % 10}?", "answer": str(n % 3)}) + "\n" for n in range(36))
    )
    own = "{question} Name it."
    return {"name": "file", "path": str(path), "verifier": "regex", "pattern": r"\d", "instruction": own}


@pytest.mark.slow
def test_a_better_wording_is_chosen_on_the_validation_split_and_only_it_is_asked_on_test(
    config: MakeConfig, tmp_path: Path
) -> None:
    asked = {"problem": questions(tmp_path), "selection": {"k_values": [3]}, "decoding": {"max_tokens": 24}}
    off = randopt(config(**asked, controls=OFF))
    before = rows(off)
    on = randopt(config(**asked, controls={**OFF, "best_prompt": True, "weight_average": True}))
    assert (on.run_id, on.fingerprint) == (off.run_id, off.fingerprint)
    new = rows(on).join(before, on=["candidate_id", "split", "example_id"], how="anti")
    tried = new.filter(pl.col("split") == "validation").group_by("candidate_id").agg(pl.col("correct").sum())
    assert tried.height == 4
    own = before.filter(pl.col("candidate_id") == "base", pl.col("split") == "validation")["correct"].sum()
    averaged, best = on.evaluation.controls
    assert best.detail is not None
    winner = Reworded(best.detail).id
    assert dict(tried.iter_rows())[winner] == tried["correct"].max() > own
    on_test = new.filter(pl.col("split") == "test")
    assert sorted(on_test["candidate_id"].unique()) == sorted([winner, Average(experts_of(on)).id])
    mine = on_test.filter(pl.col("candidate_id") == winner)
    assert (best.label, best.accuracy.n_correct, best.n_tokens) == (
        "best of 5 prompts", mine["correct"].sum(), mine["n_tokens"].sum(),
    )  # fmt: skip
    assert on.n_tokens["controls"] == new["n_tokens"].sum()
    assert on.thicket == off.thicket
    assert json.dumps(best.detail) in " ".join(findings(on))

    # However the work is cut, and with every other control as well.
    cut = {"examples_per_block": 5, "candidates_per_shard": 1}
    elsewhere = {"home": str(tmp_path / "elsewhere")}
    full = randopt(config(**asked, scoring=cut, storage=elsewhere))
    controls = {control.name: control for control in full.evaluation.controls}
    assert (controls["weight_average"], controls["best_prompt"]) == (averaged, best)
    sampled = controls["best_prompt_self_consistency"]
    assert (sampled.label, sampled.detail) == ("best of 5 prompts, 3 samples at t = 0.7", best.detail)
    ids = {Attempt(index, 0.7, 0, best.detail).id for index in range(3)}
    assert sampled.n_tokens == rows(full).filter(pl.col("candidate_id").is_in(ids))["n_tokens"].sum()
    assert sum(full.n_tokens.values()) == rows(full)["n_tokens"].sum()

    # A run of a smaller K finds the larger average among its shards, and makes its own: of one, which is that one.
    alone = randopt(config(**asked | {"selection": {"k_values": [1]}}, controls={**OFF, "weight_average": True}))
    assert alone.fingerprint == on.fingerprint
    [control] = alone.evaluation.controls
    assert control.accuracy == alone.evaluation.best_single
    assert control.n_tokens == alone.evaluation.n_tokens.best_single


def experts_of(summary: RunSummary) -> tuple[Candidate, ...]:
    return tuple(Candidate(int(row.seed), row.sigma) for row in summary.experts)


def test_the_prompts_of_a_control_do_not_change_the_longest_length_needlessly(config: MakeConfig) -> None:
    def planned(**controls: Any) -> RunPlan:
        made = config(controls=controls)
        base, problem, data = resolve_model(made.model), load_problem(made.problem), made.data
        splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
        return make_plan(made, base, problem, splits)

    plans = [planned(), planned(best_prompt=False), planned(prompts=["Oh, {question}"])]
    assert {plan.engine.max_length for plan in plans} == {256}
    assert len({plan.fingerprint for plan in plans}) == 1
    assert planned(prompts=["." * 200 + "{question}"]).engine.max_length == 512  # they count, where they must
    too_long = planned(prompts=["." * 600 + "{question}"])
    assert (too_long.wordings, too_long.engine.max_length) == (None, 256)
    for plan, n_others in zip(plans, (4, 0, 1), strict=True):
        for block in plan.blocks:
            assert len(block.rewordings) == (0 if block.split == "selection" else n_others)
