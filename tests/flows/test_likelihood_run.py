"""Answers by likelihood through a plan: units and shards, identity, check, an ensemble that is asked, a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.flows.run_table_checks import check_tables
from thickets.flows.check.replies import check
from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import scoring_job
from thickets.flows.plan import RunPlan, count_respondents, make_plan
from thickets.flows.randopt import randopt
from thickets.flows.results.ready_queries import not_of
from thickets.flows.results.runs import find_run, open_scores
from thickets.flows.results.sentences import findings
from thickets.flows.search.estimate import estimate
from thickets.flows.search.search import make_manifest
from thickets.flows.search.stages import plan_controls
from thickets.storage.errors import InputError
from thickets.storage.home import Home
from thickets.storage.models.base import resolve_model
from thickets.storage.shards.folder import LocalShardFolder
from thickets.tasks.engines import build_engine
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.scoring.units import Block, Shard, candidate_id, sampling_of
from thickets.tasks.scoring.worker import ScoringWorker
from thickets.tasks.seeds import population
from thickets.tasks.serving import open_ensemble
from thickets.tasks.types import Attempt, Candidate

MakeConfig = Callable[..., RunConfig]
LIMIT = {"decoding": {"max_tokens": 16}}  # the tiny model's tokens are characters
CANDIDATES = (None, Candidate(7, 0.1), Candidate(8, 0.2))
_MOODS = ("negative", "positive", "neutral")


@pytest.fixture
def reviews(tmp_path: Path) -> dict[str, Any]:
    rows = [{"text": f"Text number {n}.", "label": _MOODS[n % 3]} for n in range(60)]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "classification", "path": str(tmp_path / "reviews.jsonl"), "scoring": "loglikelihood"}


@pytest.fixture
def questions(tmp_path: Path) -> dict[str, Any]:
    rows = [
        {"question": f"Number {n}?", "choices": [f"{n + k}" for k in range(2 + n % 3)], "answer": f"{n}"}
        for n in range(60)
    ]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "choice", "path": str(tmp_path / "questions.jsonl"), "scoring": "loglikelihood"}


def plan_of(config: RunConfig) -> RunPlan:
    problem, data = load_problem(config.single_problem), config.data
    splits = draw_splits(problem, selection=data.selection, validation=data.validation, test=data.test, seed=0)
    return make_plan(config, resolve_model(config.model), problem, splits)


def by_hand(engine: TransformersEngine, block: Block) -> list[str]:
    """The likeliest label of each prompt, one prompt at a time."""
    assert block.labels is not None
    answers = []
    for place, prompt in enumerate(block.prompts):
        labels = block.labels.of([place])
        [found] = engine.likelihoods([prompt], labels)
        values = [each.log for each in found]
        answers.append(labels.of_prompts[0][values.index(max(values))].answer)
    return answers


@pytest.mark.parametrize("name", ["reviews", "questions"])
def test_a_unit_s_completions_are_the_likeliest_labels(
    config: MakeConfig, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    plan = plan_of(config(problem=request.getfixturevalue(name), **LIMIT))
    engine = build_engine(plan.engine)
    assert isinstance(engine, TransformersEngine)
    folder = LocalShardFolder(tmp_path / "shards")
    worker = ScoringWorker(
        lambda: engine, plan.judge, plan.blocks, plan.sampling, folder, folder.verdicts(plan.verdicts)
    )
    block = next(block for block in plan.blocks if block.split == "selection")
    report = worker.score(Shard("selection", block.index, CANDIDATES))
    answered, verdicts = folder.read(report.shard_id), folder.verdicts(plan.verdicts).read(report.shard_id)
    golds = [plan.judge.extract(example.answer, example) for example in block.examples]
    for candidate in CANDIDATES:
        rows = pl.col("candidate_id") == candidate_id(candidate)
        said, judged = answered.filter(rows), verdicts.filter(rows)
        engine.load(candidate)
        assert said["completion"].to_list() == by_hand(engine, block)
        assert judged["answer"].to_list() == said["completion"].to_list()
        right = [answer == gold for answer, gold in zip(judged["answer"], golds, strict=True)]
        assert judged["correct"].to_list() == right
        if name == "reviews":
            assert said["n_tokens"].to_list() == [len(text) for text in said["completion"]]
    assert answered["completion"].n_unique() > 1
    assert set(answered["finish_reason"]) == {"stop"}
    worker.close()


def test_the_identity_says_what_is_compared_and_how(config: MakeConfig, reviews: dict[str, Any]) -> None:
    generated = plan_of(config(problem=reviews | {"scoring": "generate"}, **LIMIT))
    assert "labels" not in generated.identity
    plans = [
        generated,
        plan_of(config(problem=reviews, **LIMIT)),
        plan_of(config(problem=reviews | {"likelihood_per": "token"}, **LIMIT)),
        plan_of(config(problem=reviews | {"labels": ["positive", "negative", "neutral"]}, **LIMIT)),
    ]
    assert len({plan.fingerprint for plan in plans}) == 4
    # A tie goes to the first label, so their order counts.
    assert len({plan.verdicts for plan in plans[:3]}) == 2  # nothing but thoughts, which labels do not have


def test_what_is_drawn_is_left_out(config: MakeConfig, reviews: dict[str, Any]) -> None:
    plan = plan_of(config(problem=reviews, **LIMIT))
    experts = pl.DataFrame({"rank": [1], "seed": [7], "sigma": [0.1]})
    panels = plan_controls(plan, population(9, [0.05], 0), experts).panels
    assert "self_consistency" not in [panel.name for panel in panels]
    generated = plan_of(config(problem=reviews | {"scoring": "generate"}, **LIMIT))
    assert count_respondents(generated)["test"] > count_respondents(plan)["test"]
    drawn = sampling_of(Attempt(0, 0.8), plan.blocks[0], plan.sampling)
    assert (drawn.temperature, drawn.labels) == (0.0, plan.blocks[0].labels)
    with pytest.raises(InputError, match=r"decoding\.max_tokens: found learned"):
        plan_of(config(problem=reviews, decoding={"max_tokens": "learned"}))


def test_check_shows_how_probable_the_labels_are(config: MakeConfig, reviews: dict[str, Any]) -> None:
    found = check(config(problem=reviews, **LIMIT), n=7)
    assert len(found.replies) == 7
    assert found.n_abstained == found.n_cut_off == 0
    for reply in found.replies:
        shares = reply.why.partition("; ")[2].split(", ")
        assert len(shares) == 3
        assert shares[0].startswith(f"{reply.reply} ")
        assert 98 <= sum(int(share.split()[1]) for share in shares) <= 102


def test_other_machines_and_an_ensemble_that_is_asked_need_no_data(
    config: MakeConfig, reviews: dict[str, Any], questions: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    experts = pl.DataFrame({"rank": [1, 2, 3], "seed": [9, 13, 14], "sigma": [0.1, 0.1, 0.1]})
    experts = experts.with_columns(n_correct=3, weight=1)
    score = Accuracy(n_correct=3, n=10, value=0.3, low=0.1, high=0.6)
    n_asked = set()
    for problem in (reviews, questions):
        plan = plan_of(config(problem=problem, **LIMIT))
        manifest = make_manifest(plan, experts, CurvePoint(k=3, method="top_k", rule="majority", accuracy=score))
        Path(problem["path"]).unlink()
        assert load_problem(scoring_job(plan).problem).identity() == plan.problem.identity()
        monkeypatch.setenv("THICKETS_BASE_MODEL", config().model)
        answerer = open_ensemble(manifest, device="cpu")
        block = plan.blocks[0]
        asked = [example.question for example in block.examples]
        answers, engine = answerer.ask(asked, every=True), answerer._engine
        for place, candidate in enumerate(Candidate(seed, 0.1) for seed in (9, 13, 14)):
            engine.load(candidate)
            assert [row.ballots[place] for row in answers.rows] == by_hand(engine, block)  # type: ignore[arg-type]
        # The third is asked only where the first two differ.
        fewer = answerer.ask(asked).rows
        n_asked |= {row.n_asked for row in fewer}
        assert [row.ballots for row in fewer] == [
            row.ballots[: short.n_asked] for row, short in zip(answers.rows, fewer, strict=True)
        ]
        with pytest.raises(InputError, match="temperature"):
            answerer.ask([block.examples[0].question], temperature=0.5)
        answerer.close()
    assert n_asked == {2, 3}


@pytest.mark.slow
def test_a_whole_run_by_likelihood_with_its_engine_in_a_process_of_its_own(
    config: MakeConfig, reviews: dict[str, Any], prefect_server: None
) -> None:
    engine = {"kind": "transformers", "device": "cpu", "batch_size": 5, "replicas": 1}
    made = config(problem=reviews, engine=engine, **LIMIT)
    expected = estimate(made)
    assert expected.tokens > 0
    summary = randopt(made)
    names = [control.name for control in summary.evaluation.controls]
    assert "self_consistency" not in names
    assert "random_experts" in names
    assert any("no self-consistency" in line for line in findings(summary))
    home = Home(made.storage.home)
    with open_scores(home, find_run(home, summary.run_id)) as scores:
        answers = scores.query("SELECT DISTINCT answer FROM scores")["answer"]
        check_tables(scores, summary)
    assert {*not_of(find_run(home, summary.run_id))} == {"cut_off", "looping", "tokens"}
    assert set(answers) <= set(_MOODS)
    assert None not in set(answers)
