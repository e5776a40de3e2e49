"""Rivals of a run: evolution strategies within a budget, on the run's questions, compared on its test split."""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from mlflow import MlflowClient
from pydantic import ValidationError
from safetensors.torch import load_file
from starlette.testclient import TestClient

from tests.flows.test_kill import kill_after, shards, start, wait_while_it_runs
from tests.flows.test_merge import OFF
from tests.flows.test_rounds import _VERIFIER
from tests.flows.tiny_run import tiny_sections
from tests.tiny_model import make_tiny_model
from thickets.flows.config.file import parse_config
from thickets.flows.config.preflight import check_inputs
from thickets.flows.config.rivals import RivalsConfig
from thickets.flows.config.rivals_es import EsConfig
from thickets.flows.config.run import RunConfig
from thickets.flows.model_in_place import model_in_place
from thickets.flows.models.promotion import promote
from thickets.flows.placement import engines
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.compare import compare
from thickets.flows.results.comparison_text import sentences as comparison_sentences
from thickets.flows.results.rivals import RivalFolder, RivalSummary, finished_rivals
from thickets.flows.results.rivals_text import rival_findings
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.flows.rivals import checkpoints, exam
from thickets.flows.rivals.flow import rival
from thickets.flows.rivals.plan import plan_rival, rival_config
from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import resolve_model
from thickets.tasks.engines import EngineSpec, build_engine, resolve_spec
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.export.checkpoint import write_checkpoint
from thickets.tasks.noise import Perturbation, noise
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.cost import flops_of
from thickets.tasks.results.text import amount
from thickets.tasks.rivals.evolution import draw_round
from thickets.tasks.types import Merge, Sampling, question_id

ES = {"population": 6, "rounds": 2, "sigma": 0.05, "learning_rate": 0.6, "evaluate_every": 1, "questions": 8}


def sections(folder: Path, home: Path, **changes: Any) -> dict[str, Any]:
    rows = [json.dumps({"question": f"Say {number}.", "answer": "all"}) for number in range(60)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    return tiny_sections(folder / "model") | {
        "name": "rivals",
        "problem": {"name": "file", "path": str(folder / "rows.jsonl"), "verifier": "letters_of_rivals:letters"},
        "data": {"selection": 16, "validation": 12, "test": 14},
        "population": {"size": 4, "sigmas": [0.05]},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 64},
        "scoring": {"examples_per_block": 16, "candidates_per_shard": 4},
        "selection": {"k_values": [1]},
        "controls": OFF,
        "storage": {"home": str(home)},
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("rivals")
    make_tiny_model(found / "model")
    (found / "letters_of_rivals.py").write_text(_VERIFIER)
    return found


@pytest.fixture(scope="module")
def searched(folder: Path, prefect_server: None) -> RunSummary:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        return randopt(parse_config(sections(folder, folder / "home")))


@pytest.fixture
def near(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)


def asked(searched: RunSummary, *overrides: str) -> RunConfig:
    home = Home(searched.folder.parents[1])
    section = [f"rivals.es.{name}={value}" for name, value in ES.items()]
    return rival_config(home, find_run(home, searched.run_id), "es", [*section, *overrides])


@pytest.fixture
def evolved(searched: RunSummary, near: None) -> RivalSummary:
    return rival(asked(searched, "rivals.es.antithetic=true", "rivals.budget.tokens=1000000", NO_EQUAL), "es")


NO_EQUAL = "rivals.budget.equal=null"


def state_of(found: RivalSummary) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(RivalFolder(found.folder).state.read_text())
    return values


def merges(found: RivalSummary) -> list[Merge]:
    drawn = [draw_round(6, 0.05, 0, number, antithetic=True).candidates for number in (0, 1)]
    steps = []
    for candidates, step in zip(drawn, state_of(found)["steps"], strict=True):
        members = tuple(each for each in candidates if str(each.seed) in step["seeds"])
        assert [str(each.seed) for each in members] == step["seeds"]
        steps.append(Merge(members, tuple(step["coefficients"])))
    return steps


def in_numpy(theta: dict[str, torch.Tensor], step: Merge) -> dict[str, torch.Tensor]:
    """A step by its definition in float32, with nothing of the kernels in it but the noise itself."""
    moved = {}
    for name, weights in theta.items():
        total = np.full(weights.numel(), -0.0, np.float32)
        for member, coefficient in zip(step.members, step.coefficients, strict=True):
            total = total + np.float32(coefficient * member.sigma) * noise(member.seed, name, 0, weights.numel())
        moved[name] = torch.from_numpy(weights.numpy().ravel() + total).reshape(weights.shape)
    return moved


def answers_of(home: Path, who: str) -> list[str]:
    """What the shards hold of a respondent on the selection split, in its order."""
    frames = [pl.read_parquet(path) for path in (home / "shards").glob("*/*.parquet")]
    rows = pl.concat(frames).filter((pl.col("candidate_id") == who) & (pl.col("split") == "selection"))
    return rows["completion"].to_list()


def test_two_rounds_are_those_made_by_hand_and_a_candidate_of_the_second_is_its_materialized_self(
    evolved: RivalSummary, folder: Path, tmp_path: Path
) -> None:
    first, second = merges(evolved)
    base = load_file(folder / "model" / "model.safetensors")
    one = in_numpy(base, first)
    by_step = {0: base, 1: one, 2: in_numpy(one, second)}
    written = load_file(evolved.folder / "model" / "model.safetensors")
    wanted = by_step[evolved.rival.chosen_step]
    assert evolved.rival.chosen_step > 0
    assert written.keys() == wanted.keys()
    assert all(torch.equal(written[name], wanted[name]) for name in wanted)

    # Around the model of the first round, which nothing but the two steps leads to.
    perturbation = Perturbation()
    (tmp_path / "one").mkdir()
    write_checkpoint(folder / "model", tmp_path / "one", first, perturbation, dtype="float32")
    assert all(torch.equal(load_file(tmp_path / "one" / "model.safetensors")[name], one[name]) for name in one)
    drawn = draw_round(6, 0.05, 0, 1, antithetic=True)
    rewards = []
    for place, who in enumerate(drawn.respondents):
        assert who is not None
        (tmp_path / str(place)).mkdir()
        write_checkpoint(tmp_path / "one", tmp_path / str(place), who, perturbation)  # type: ignore[arg-type]
        texts = answers_of(folder / "home", who.id)
        assert len(texts) == 8
        rewards.append(sum(sum(c in "abcdefghijklm" for c in text) * 1000 // max(1, len(text)) for text in texts) / 8)
        if place in (1, 4):
            spec = EngineSpec("transformers", tmp_path / str(place), perturbation, device="cpu", batch_size=64)
            engine = TransformersEngine(spec)
            prompts = prompts_of(folder / "home", who.id)
            assert [each.text for each in engine.generate(prompts, Sampling(max_tokens=8))] == texts
            engine.close()
    # The step that these rewards make, written out: z-scores of all six, pairs taken together.
    worths = (np.array(rewards) - np.mean(rewards)) / np.std(rewards)
    scale = 0.6 / (6 * 0.05)  # of a coefficient, which multiplies sigma * noise
    taken = dict(zip([each.seed for each in second.members], second.coefficients, strict=True))
    wanted_step = {each.seed: scale * gap for each, gap in zip(drawn.candidates, worths[:3] - worths[3:], strict=True)}
    assert taken == pytest.approx({seed: value for seed, value in wanted_step.items() if value})


def prompts_of(home: Path, who: str) -> list[str]:
    frames = [pl.read_parquet(path) for path in (home / "shards").glob("*/*.parquet")]
    ids = pl.concat(frames).filter((pl.col("candidate_id") == who) & (pl.col("split") == "selection"))["example_id"]
    rows = {f"Say {number}." for number in range(60)}
    named = {question_id(row): row for row in rows}
    return [f"[user] {named[each]}\n[assistant] " for each in ids]


def test_it_is_compared_with_the_run_and_counts_what_it_cost(evolved: RivalSummary, searched: RunSummary) -> None:
    found = evolved.rival
    assert [point.step for point in found.points] == [0, 1, 2]
    assert found.minus_base.value == pytest.approx(found.test.value - searched.evaluation.base.value)
    assert found.minus_ensemble.value == pytest.approx(found.test.value - searched.evaluation.ensemble.value)
    assert found.minus_merge is None
    best = max(point.validation.total for point in found.points)
    assert found.points[found.chosen_step].validation.total == found.validation.total == best
    assert found.ended == "it had taken 2 rounds (rivals.es.rounds)"
    cost = found.cost_to_get
    assert cost == found.points[-1].cost
    assert cost.n_forward == 2 * (6 * 8 + 12)  # six models on eight questions, then one on validation
    n_parameters = sum(each.numel() for each in load_file(evolved.folder / "model" / "model.safetensors").values())
    assert cost.flops == flops_of(n_parameters, n_read_or_generated=cost.n_generated + cost.n_read)
    assert cost.engine_s > 0
    assert evolved.cost.search.n_forward == 5 * 16 + 2 * 12  # base and four candidates, then base and the best
    assert any("The model of evolution strategies is" in line for line in rival_findings(evolved))


def test_again_it_only_says_what_it_found(evolved: RivalSummary, searched: RunSummary, near: None) -> None:
    run = RunFolder(searched.folder)
    before = shards(searched.folder.parents[1])
    again = rival(asked(searched, "rivals.es.antithetic=true", "rivals.budget.tokens=1000000", NO_EQUAL), "es")
    assert again == evolved
    assert shards(searched.folder.parents[1]) == before
    assert evolved in finished_rivals(run)
    report = run.report.read_text()
    assert "Rivals on the same budget" in report
    assert "Cost to get against mean score" in report
    assert evolved.rival.label in report
    pages = TestClient(make_app(Home(run.root.parents[1]), Address("127.0.0.1", 1)), base_url="http://127.0.0.1:1")
    shown = unescape(pages.get(f"/runs/{run.run_id}").text)
    assert evolved.rival.label in shown
    assert rival_findings(evolved)[0] in shown


def test_mlflow_has_its_way_and_its_cost_below_the_search(evolved: RivalSummary, searched: RunSummary) -> None:
    assert not RivalFolder(evolved.folder).unlogged.exists()
    client = MlflowClient(evolved.tracking.mlflow_uri)
    run = client.get_run(evolved.tracking.mlflow_run_id)
    assert run.data.tags["mlflow.parentRunId"] == searched.tracking.mlflow_run_id
    assert run.data.metrics["cost.tokens"] == evolved.rival.cost_to_get.n_tokens
    assert run.data.metrics["test.minus_base"] == pytest.approx(evolved.rival.minus_base.value)
    history = client.get_metric_history(evolved.tracking.mlflow_run_id, "validation.accuracy")
    assert sorted(point.step for point in history) == [0, 1, 2]


def test_its_model_is_promoted_like_any_other_and_asked_like_the_run(
    evolved: RivalSummary, searched: RunSummary, thickets: Any
) -> None:
    run = RunFolder(searched.folder)
    found = promote(run, "es", "rivals-of-a-test", force=True)
    assert (found.kind, found.is_champion) == ("es", True)
    client = MlflowClient(searched.tracking.mlflow_uri)
    version = client.get_model_version("rivals-of-a-test", found.version)
    assert version.description.startswith(f"Model of evolution strategies of {searched.run_id}: ")
    assert version.run_id == evolved.tracking.mlflow_run_id
    kept = load_file(Path(evolved.folder) / "model" / "model.safetensors")
    folder = Path(client.get_logged_model(found.model_id).artifact_location.removeprefix("file://"))
    logged = load_file(folder / "model" / "model.safetensors")
    assert all(torch.equal(logged[name], kept[name]) for name in logged)
    answers = pl.read_parquet(folder / "test_answers.parquet")
    assert answers["score"].mean() / 1000 == pytest.approx(evolved.rival.test.value)
    card = (Path(evolved.folder) / "model" / "README.md").read_text()
    assert card.startswith(f"# A rival of {searched.run_id}")
    assert " evolution strategies on the questions that the search ranked" in card
    status, out, _ = thickets("ask", found.uri, "Say 3.", "--json", "--home", str(searched.folder.parents[1]))
    assert (status, json.loads(out)["n_asked"]) == (0, 1)


def test_a_rival_that_is_not_there_is_named_with_how_to_make_it(evolved: RivalSummary, searched: RunSummary) -> None:
    with pytest.raises(InputError, match=r"has no model of GRPO in MLflow; make it first: thickets rival .* grpo"):
        promote(RunFolder(searched.folder), "grpo")


def test_show_and_compare_have_it(evolved: RivalSummary, searched: RunSummary, thickets: Any) -> None:
    home = searched.folder.parents[1]
    status, out, _ = thickets("show", searched.run_id, "--home", str(home))
    assert status == 0
    assert evolved.rival.label.removeprefix("e") in out  # where a sentence begins with it
    assert "The model of evolution strategies is" in out
    shutil.copytree(searched.folder, home / "runs" / "twin-00000000")  # as if searched twice
    try:
        found = compare(Home(home), [searched.run_id, "twin-00000000"])
    finally:
        shutil.rmtree(home / "runs" / "twin-00000000")
    assert evolved.rival.label in {row.label for row in found.runs[0].rows}
    assert any(line.startswith(f"{searched.run_id}: The model of evolution") for line in comparison_sentences(found))


def test_a_budget_ends_it_with_the_round_that_spends_it(searched: RunSummary, near: None) -> None:
    found = rival(asked(searched, "rivals.es.rounds=50"), "es")  # equal tokens
    assert found.budget == f"{amount(found.cost.search.n_tokens)} tokens, as the search"
    assert found.rival.ended.startswith("its budget was spent after round ")
    n_rounds = len(state_of(found)["steps"])
    assert found.rival.points[-1].step == n_rounds < 50
    *_, before, _ = found.rival.points
    assert before.cost.n_tokens < found.cost.search.n_tokens <= found.rival.cost_to_get.n_tokens


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"budget": {"tokens": 5, "flops": 1.0}}, "rivals.budget has tokens and flops; it takes exactly one"),
        ({"budget": {}}, "rivals.budget has nothing; it takes exactly one"),
        ({"budget": {"equal": "money"}}, "'tokens', 'flops' or 'seconds'"),
        ({"es": {"population": 5, "antithetic": True}}, "rivals.es.population is 5"),
        ({"es": {"shaping": "best"}}, "'rank' or 'best_quarter'"),
        ({"es": {"sigma": 0}}, "greater than 0"),
        ({"ppo": {}}, "ppo"),
    ],
)
def test_settings_that_make_no_sense_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RivalsConfig.model_validate(values)


def test_scale_and_rate_come_from_the_search_where_they_are_empty() -> None:
    assert EsConfig().scale([0.008, 0.003, 0.005]) == 0.005
    assert EsConfig().rate([0.008, 0.003, 0.005]) == 0.0125
    own = EsConfig(sigma=0.1, learning_rate=0.2)
    assert (own.scale([0.003]), own.rate([0.003])) == (0.1, 0.2)


def test_a_round_has_the_noise_of_the_run_and_not_what_a_rule_makes_of_its_weights(folder: Path, near: None) -> None:
    config = parse_config(sections(folder, folder / "home", noise={"rule": "balanced"}))
    problem = load_problem(config.single_problem)
    splits = draw_splits(problem, selection=16, validation=12, test=14, seed=0)
    run = make_plan(config, resolve_model(config.model), problem, splits)
    other = resolve_model(str(make_tiny_model(folder / "wider", head_dim=16)))
    assert make_plan(config, other, problem, splits).engine.perturbation != run.engine.perturbation
    assert model_in_place(run, other).engine.perturbation == run.engine.perturbation


def test_more_questions_to_learn_from_are_in_none_of_the_three_splits(searched: RunSummary, near: None) -> None:
    same, more = (asked(searched, *overrides) for overrides in ((), ("rivals.questions=30",)))
    base, problem = resolve_model(more.model), load_problem(more.single_problem)
    splits = draw_splits(problem, **more.data.draw)
    plans = [plan_rival(each, "es", base, problem, splits, resolve_spec) for each in (same, more)]
    assert plans[0].questions == splits.selection
    assert plans[0].id != plans[1].id
    learned = {example.id for example in plans[1].questions.examples}
    assert len(learned) == 30
    assert learned > {example.id for example in splits.selection.examples}
    assert learned.isdisjoint(example.id for split in (splits.validation, splits.test) for example in split.examples)

    before = asked_of(searched, "selection")
    found = rival(asked(searched, "rivals.questions=30", "rivals.budget.tokens=1000000", NO_EQUAL), "es")
    assert found.rival.label.endswith(", 30 questions")
    card = (Path(found.folder) / "model" / "README.md").read_text()
    assert " on 30 questions, among them the questions that the search ranked its candidates by" in card
    new = asked_of(searched, "selection") - before
    assert new
    assert new < learned


def asked_of(searched: RunSummary, split: str) -> set[str]:
    frames = [pl.read_parquet(path) for path in (searched.folder.parents[1] / "shards").glob("*/*.parquet")]
    return set(pl.concat(frames).filter(pl.col("split") == split)["example_id"].to_list())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")
def test_on_vllm_one_engine_has_every_rounds_model_and_makes_what_an_engine_per_round_makes(
    near: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    make_tiny_model(tmp_path / "model", head_dim=32)
    vllm = {"engine": {"kind": "vllm", "device": "cpu", "batch_size": 16}}
    built: list[Path] = []

    def build(spec: EngineSpec) -> Any:
        built.append(spec.model_path)
        return build_engine(spec)

    monkeypatch.setattr(exam, "build_engine", build)
    made = []
    for name in ("one engine", "an engine each"):
        run = randopt(parse_config(sections(tmp_path, tmp_path / name, **vllm)))
        built.clear()
        found = rival(asked(run, "rivals.budget.tokens=1000000", NO_EQUAL, "rivals.es.rounds=3"), "es")
        made.append((state_of(found), load_file(found.folder / "model" / "model.safetensors")))
        n_for_rounds = len(built) - (found.rival.chosen_step > 0)  # the base has answered the test split before
        assert n_for_rounds == (1 if name == "one engine" else 4)
        monkeypatch.setattr(engines, "_differ_by_base", lambda one, other: one == other)
    (one, weights), (other, others) = made
    assert one["steps"] == other["steps"]
    assert [point["validation"] for point in one["points"]] == [point["validation"] for point in other["points"]]
    assert all(torch.equal(weights[name], others[name]) for name in others)


def test_every_step_is_written_once_however_far_back_the_best_look_lies(
    searched: RunSummary, near: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = checkpoints.write_step

    def write_step(run: RunPlan, source: Path, target: Path, *rest: Any) -> None:
        written.append(target.name)
        real(run, source, target, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_step", write_step)
        budget = ("rivals.budget.tokens=1000000", NO_EQUAL)
        found = rival(asked(searched, "rivals.es.rounds=4", "rivals.es.evaluate_every=4", *budget), "es")
    assert all(step["seeds"] for step in state_of(found)["steps"]), "a round took no step"
    assert written == ["step-0001", "step-0002", "step-0003", "step-0004", "model"]


def test_too_few_questions_are_told_before_anything_starts(folder: Path, near: None) -> None:
    values = sections(folder, folder / "home")
    with pytest.raises(InputError, match=r"rivals\.questions is 9, but data\.selection is 16"):
        parse_config(values | {"rivals": {"questions": 9, "es": {}}})
    with pytest.raises(
        InputError,
        match=r"rivals\.questions, beyond data\.selection, needs 44, 44 rows in all; found 18 distinct questions",
    ):
        check_inputs(parse_config(values | {"rivals": {"questions": 60, "es": {}}}))


def test_only_the_rivals_can_be_changed_on_a_finished_run(searched: RunSummary, near: None) -> None:
    with pytest.raises(InputError, match=r"only rivals\.FIELD=VALUE"):
        asked(searched, "population.size=9")
    home = Home(searched.folder.parents[1])
    plain = rival_config(home, find_run(home, searched.run_id), "es", [])
    assert plain.rivals is not None
    assert plain.rivals.methods == ("es",)
    assert plain.rivals.budget.equal == "tokens"


@pytest.mark.slow
def test_killed_in_a_round_it_goes_on_there(
    searched: RunSummary, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"budget": {"tokens": 10**7}, "es": ES | {"population": 40, "rounds": 4}}
    values = sections(folder, tmp_path / "home", rivals=section, scoring={"examples_per_block": 8})
    values["scoring"]["candidates_per_shard"] = 2
    (tmp_path / "killed.yaml").write_text(yaml.safe_dump(values))
    monkeypatch.chdir(folder)  # where the verifier is
    process = start(tmp_path / "killed.yaml")
    for n_steps in (0, 2):
        wait_while_it_runs(process, partial(reached, tmp_path / "home", n_steps))
        kill_after(process, tmp_path / "home", 2, 0.05)
        before = shards(tmp_path / "home")
        process = start(tmp_path / "killed.yaml")
    assert process.wait() == 0
    after = shards(tmp_path / "home")
    assert {name: after[name] for name in before} == before, "a finished shard was written again"
    frames = [
        pl.read_parquet(path).with_columns(around=pl.lit(path.parent.name))
        for path in (tmp_path / "home" / "shards").glob("*/*.parquet")
    ]
    rows = pl.concat(frames).select("around", "candidate_id", "split", "example_id")
    assert not rows.is_duplicated().any(), "something was scored twice"

    values["storage"] = {"home": str(tmp_path / "undisturbed")}
    (tmp_path / "undisturbed.yaml").write_text(yaml.safe_dump(values))
    assert start(tmp_path / "undisturbed.yaml").wait() == 0
    killed, undisturbed = (only_rival(tmp_path / name) for name in ("home", "undisturbed"))
    assert killed.rival.sha256 == undisturbed.rival.sha256
    assert killed.rival.test == undisturbed.rival.test
    assert state_of(killed)["steps"] == state_of(undisturbed)["steps"]
    costs = [each.rival.cost_to_get.model_copy(update={"engine_s": 0.0}) for each in (killed, undisturbed)]
    assert costs[0] == costs[1]


def reached(home: Path, n_steps: int) -> bool:
    """Whether the rival has begun, and has taken so many steps."""
    configs = list(home.glob("runs/*/rivals/*/config.yaml"))
    states = list(home.glob("runs/*/rivals/*/state.json"))
    return bool(configs) and (n_steps == 0 or any(len(json.loads(p.read_text())["steps"]) >= n_steps for p in states))


def only_rival(home: Path) -> RivalSummary:
    [found] = finished_rivals(find_run(Home(home), "latest"))
    return found
