"""Distillation on the tiny model: from a finished run to a checkpoint and a verdict, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import polars as pl
import pytest
import torch
from markupsafe import escape
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM, AutoTokenizer

import thickets.flows.distillation.flow as flow_module
from tests.flows.command_line import refused
from tests.flows.tiny_run import tiny_sections
from tests.tiny_model import make_tiny_model
from thickets.flows.config.file import dump_config, parse_config
from thickets.flows.config.run import RunConfig
from thickets.flows.distillation.flow import distill
from thickets.flows.distillation.plan import distill_config, plan_distillation
from thickets.flows.randopt import randopt
from thickets.flows.results.distillation import DistillFolder, DistillSummary, finished_distillations
from thickets.flows.results.distillation_text import distill_findings
from thickets.flows.results.runs import find_run
from thickets.flows.results.summary import RunSummary
from thickets.flows.results.test_answers import read_test_answers
from thickets.flows.view.address import Address
from thickets.flows.view.app import make_app
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.base import resolve_model
from thickets.storage.scores.reader import read_only
from thickets.tasks.distillation.texts import IGNORED, encode
from thickets.tasks.engines import EngineSpec, resolve_spec
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.transformers import TransformersEngine
from thickets.tasks.noise import Perturbation
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.types import Candidate, Sampling

SECTION = {
    "examples": 60,
    "attempts": 3,
    "hard_only": False,
    "min_rows": 1,
    "max_steps": 4,
    "eval_every": 2,
    "batch_size": 4,
    "rank": 2,
    "alpha": 4,
    "learning_rate": 0.01,
    "top_tokens": 8,
}


def taught_model(folder: Path, steps: int = 60) -> Path:
    """A tiny model that has learned the form of an answer, and part of the task: some replies are right, all end."""
    base = make_tiny_model(folder)
    problem = load_problem(ProblemConfig(name="largest_number", options={"below": 12, "count": 2}))
    tokenizer, template = AutoTokenizer.from_pretrained(base), PromptTemplate.from_folder(base)
    examples = problem.examples(32, seed=99)
    texts = encode(
        tokenizer, [template.render(problem.messages(e)) for e in examples], [example.answer for example in examples]
    )
    length = max(len(text.input_ids) for text in texts)
    ids = torch.tensor([[*text.input_ids, *[0] * (length - len(text.input_ids))] for text in texts])
    labels = torch.tensor([[*text.labels, *[IGNORED] * (length - len(text.labels))] for text in texts])
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(base)
    return base


def settings(folder: Path, model: Path, **sections) -> RunConfig:
    own = {
        "name": "tiny",
        "problem": {"name": "largest_number", "options": {"below": 12, "count": 2}},
        "population": {"size": 9, "sigmas": [0.01, 0.02, 0.05]},
        "decoding": {"max_tokens": 6},
        "scoring": {"examples_per_block": 25, "candidates_per_shard": 2},
        "selection": {"k_values": [3]},
        "controls": {"self_consistency": False, "random_experts": False},
        "storage": {"home": str(folder / "home")},
    }
    return parse_config(tiny_sections(model) | own | sections)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[RunConfig, RunSummary]:
    """A finished run, and the configuration it was started with; no distillation in it."""
    folder = tmp_path_factory.mktemp("distill")
    config = settings(folder, taught_model(folder / "model"))
    return config, randopt(config)


@pytest.fixture(scope="module")
def distilled(run: tuple[RunConfig, RunSummary]) -> tuple[RunConfig, DistillSummary]:
    """Its distillation."""
    config = parse_config(run[0].model_dump(mode="json") | {"distillation": SECTION})
    return config, distill(config)


def home_of(run: tuple[RunConfig, RunSummary]) -> str:
    return str(run[0].storage.home)


def test_a_student_and_its_controls_are_judged_on_the_runs_own_test_questions(
    run: tuple[RunConfig, RunSummary], distilled: tuple[RunConfig, DistillSummary]
) -> None:
    found, of_run = distilled[1], run[1].evaluation
    assert found.reason is None
    assert [arm.name for arm in found.arms] == ["student", "rejection_sampling", "labels"]
    assert found.evaluation == of_run
    [average] = [control for control in of_run.controls if control.name == "weight_average"]
    for arm in found.arms:
        assert arm.test.n == 14
        assert arm.validation.n == 10
        # Paired with the run's answers: the difference of the means is the mean of the differences.
        assert arm.minus_base.value == pytest.approx(arm.test.value - of_run.base.value)
        assert arm.minus_ensemble.value == pytest.approx(arm.test.value - of_run.ensemble.value)
        assert arm.minus_best_single.value == pytest.approx(arm.test.value - of_run.best_single.value)
        assert arm.minus_weight_average is not None
        assert arm.minus_weight_average.value == pytest.approx(arm.test.value - average.accuracy.value)
        assert arm.training.n_steps == 4
    assert found.untrained == ()
    assert [each.other for each in found.student_minus] == ["rejection_sampling", "labels"]
    assert found.arms[2].training.n_rows == found.arms[0].training.n_rows == found.data.n_rows


def test_a_student_costs_the_search_the_answers_it_learned_from_training_and_its_looks(
    run: tuple[RunConfig, RunSummary], distilled: tuple[RunConfig, DistillSummary]
) -> None:
    found, cost = distilled[1], distilled[1].cost
    student = found.student
    assert student is not None
    assert cost is not None
    costs = {arm.name: cost.of(arm.name) for arm in found.arms}
    assert None not in costs.values()
    with read_only(found.folder, None) as answers, read_only(found.folder / "work" / "student", None) as own:
        n_answers = answers.query("SELECT count(*) FROM scores").item()
        look = own.query("SELECT sum(n_tokens) FROM scores WHERE split = 'validation'").item()
        used = own.query("SELECT sum(n_tokens) FROM scores WHERE split = 'test'").item()
    assert n_answers == 60 * (3 + 3)
    get, use = costs["student"].get, costs["student"].use
    search, training = run[1].full_cost.search, student.training
    n_looks = len(training.curve)
    assert n_looks == 3  # before the first step, and after 2 and 4
    assert get.n_generated == search.n_generated + found.answer_tokens + n_looks * look
    assert (get.n_trained, get.n_backward) == (training.n_tokens, 4 * 4)  # steps of 4 rows
    assert get.n_forward == search.n_forward + n_answers + n_looks * 10 + get.n_backward
    forward_only = 2.0 * cost.n_parameters * (get.n_read + get.n_generated)
    assert get.flops == forward_only + 6.0 * cost.n_parameters * training.n_tokens
    assert get.engine_s > search.engine_s + training.train_s
    assert (use.n_generated, use.n_forward) == (used, 14)
    assert use.n_generated == student.n_tokens
    # Gold answers were nobody's work, and samples of the base needed no expert.
    labels, samples = costs["labels"].get, costs["rejection_sampling"].get
    assert labels.n_forward == labels.n_backward + 3 * 10
    assert samples.n_forward == samples.n_backward + 3 * 10 + 60 * 3
    metrics = mlflow.MlflowClient(found.tracking.mlflow_uri).get_run(found.tracking.mlflow_run_id).data.metrics
    assert metrics["cost.student.get_tokens"] == get.n_tokens
    assert metrics["cost.student.use_tokens"] == pytest.approx(use.n_tokens / 14)
    assert any("to get" in line for line in distill_findings(found))


def test_the_student_is_a_checkpoint_that_answers_as_it_was_judged(
    distilled: tuple[RunConfig, DistillSummary],
) -> None:
    config, found = distilled
    student = found.student
    assert student is not None
    folder = found.folder / "student"
    assert resolve_model(str(folder)).sha256 == student.sha256
    problem = load_problem(config.single_problem)
    examples = draw_splits(problem, selection=12, validation=10, test=14, seed=0).test.examples
    template = PromptTemplate.from_folder(folder)
    engine = TransformersEngine(EngineSpec("transformers", folder, Perturbation(), device="cpu", batch_size=5))
    prompts = [template.render(problem.messages(example)) for example in examples]
    texts = [answer.text for answer in engine.generate(prompts, Sampling(6))]
    given = [problem.extract(text, example) for text, example in zip(texts, examples, strict=True)]
    right = [a is not None and problem.score(a, e) >= problem.right_at for a, e in zip(given, examples, strict=True)]
    assert sum(right) == student.test.n_correct


def test_no_checkpoint_with_a_pickle_in_it_is_left(distilled: tuple[RunConfig, DistillSummary]) -> None:
    left = {path.suffix for path in distilled[1].folder.rglob("*") if path.is_file()}
    assert left <= {".yaml", ".json", ".jinja", ".md", ".safetensors", ".parquet", ".duckdb"}


def test_every_row_names_its_expert_its_example_and_its_rule(
    run: tuple[RunConfig, RunSummary], distilled: tuple[RunConfig, DistillSummary]
) -> None:
    found = distilled[1]
    folder = DistillFolder(found.folder)
    rows = pl.read_parquet(folder.data).filter(pl.col("arm") == "student")
    assert rows.height == found.data.n_rows > 0
    shards = Path(home_of(run)) / "shards"
    with read_only(found.folder, None) as scores:
        written = scores.query("SELECT candidate_id, example_id, correct FROM scores WHERE split = 'training'")
    experts = {f"{int(expert.seed):016x}@{expert.sigma!r}" for expert in run[1].experts}
    assert set(rows["source"]) <= experts
    judged = rows.join(written, left_on=["source", "example_id"], right_on=["candidate_id", "example_id"], how="left")
    assert judged["correct"].all()
    assert rows["rule"].unique().to_list() == ["ensemble's answer, verified"]
    assert shards.is_dir()
    asked = set(written["example_id"])
    with read_only(run[1].folder, None) as scores:
        assert asked.isdisjoint(scores.query("SELECT example_id FROM examples")["example_id"])
    assert len(asked) == 60


def test_mlflow_has_the_data_the_progress_and_the_run_it_came_from(
    run: tuple[RunConfig, RunSummary], distilled: tuple[RunConfig, DistillSummary]
) -> None:
    links = distilled[1].tracking
    logged = mlflow.MlflowClient(links.mlflow_uri).get_run(links.mlflow_run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["mlflow.parentRunId"] == run[1].tracking.mlflow_run_id
    assert {item.dataset.name for item in logged.inputs.dataset_inputs} == {
        f"largest_number/distillation-{name}" for name in ("student", "rejection_sampling", "labels")
    }
    history = mlflow.MlflowClient(links.mlflow_uri).get_metric_history(
        links.mlflow_run_id, "student.validation.accuracy"
    )
    assert [point.step for point in history] == [0, 2, 4]


def test_the_ensemble_is_the_runs_own_vote_and_the_best_single_expert_need_not_rank_first(
    run: tuple[RunConfig, RunSummary],
) -> None:
    summary = run[1]
    best, other = summary.experts[:2]
    # As if another ranking than plain top K had chosen the experts, and they voted by weight.
    chosen = tuple(
        row.model_copy(update={"rank": rank, "weight": rank}) for rank, row in enumerate([other, best], start=1)
    )
    evaluation = summary.evaluation.model_copy(update={"k": 2, "rule": "weighted", "controls": ()})
    config = parse_config(run[0].model_dump(mode="json") | {"distillation": SECTION})
    base, problem = resolve_model(config.model), load_problem(config.single_problem)
    splits = draw_splits(problem, selection=12, validation=10, test=14, seed=0)
    plan = plan_distillation(config, base, problem, splits, resolve_spec)
    on_test = read_test_answers(plan.run.home, summary.model_copy(update={"experts": chosen, "evaluation": evaluation}))
    with read_only(summary.folder, None) as scores:
        of_best, of_other = (
            scores.answers("test", [Candidate(int(row.seed), row.sigma).id]).select("answer", "correct").rows()
            for row in (best, other)
        )
    assert on_test.best_single == [correct for _, correct in of_best]
    assert on_test.best_single != [correct for _, correct in of_other]
    # Of two experts the heavier one decides wherever it answers; with one vote each it would be the first.
    pairs = list(zip(of_best, of_other, strict=True))
    expected = [light if answer is None else heavy for (answer, heavy), (_, light) in pairs]
    assert on_test.ensemble == expected
    assert expected != [heavy if answer is None else light for (_, heavy), (answer, light) in pairs]
    assert on_test.weight_average is None
    assert sum(on_test.base) == summary.evaluation.base.n_correct


def test_the_report_has_the_student_in_it_and_so_has_prefect(
    distilled: tuple[RunConfig, DistillSummary],
) -> None:
    found = distilled[1]
    page = (found.folder.parents[1] / "report.html").read_text()
    assert "Distilled into one model" in page
    assert f"Distillation {found.distillation_id} (sft, lora)" in page
    assert all(str(escape(sentence)) in page for sentence in distill_findings(found))
    run = RunFolder(found.folder.parents[1])
    pages = TestClient(make_app(Home(run.root.parents[1]), Address("127.0.0.1", 1)), base_url="http://127.0.0.1:1")
    shown = pages.get(f"/runs/{run.run_id}").text
    assert f"Student {found.distillation_id}" in shown
    assert str(escape(distill_findings(found)[0])) in shown
    client = mlflow.MlflowClient(found.tracking.mlflow_uri)
    logged = {item.path for item in client.list_artifacts(found.tracking.mlflow_run_id)}
    assert {"config.yaml", "data.parquet", "report.html", "summary.json"} <= logged

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as prefect:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[found.tracking.prefect_flow_run_id]))
        artifacts = {artifact.key: artifact for artifact in prefect.read_artifacts(artifact_filter=mine)}
    assert "The student is " in str(artifacts["distillation"].data)


def test_again_there_is_nothing_left_to_do_and_json_is_all_of_it(
    thickets, distilled: tuple[RunConfig, DistillSummary]
) -> None:
    config, found = distilled
    home, overrides = str(config.storage.home), [f"distillation.{k}={json.dumps(v)}" for k, v in SECTION.items()]
    options = [word for override in overrides for word in ("--set", override)]
    status, out, err = thickets("distill", "latest", "--home", home, *options, "--json")
    assert status == 0, err
    assert DistillSummary.model_validate_json(out) == found
    assert "nothing left to do" in err
    shown = thickets("distill", "latest", "--home", home, *options)[1]
    for words in ("student", "trained on the gold answers", "vote of 3", "Perplexity of generic text", "MLflow"):
        assert words in shown


@pytest.mark.slow
def test_another_training_asks_no_expert_again(
    distilled: tuple[RunConfig, DistillSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, first = distilled
    controls = {"rejection_sampling": False, "labels": False}
    section = SECTION | {"objective": "logits", "controls": controls}
    before = set((config.storage.home / "shards").rglob("training-*.parquet"))
    assert before

    # The first attempt fails after the training; the second does not train again.
    monkeypatch.setattr(flow_module, "conclude", lambda *args: 1 / 0)
    changed = parse_config(config.model_dump(mode="json") | {"distillation": section})
    with pytest.raises(ZeroDivisionError):
        distill(changed)
    monkeypatch.undo()
    [weights] = [
        path
        for path in first.folder.parent.glob("*/student/model.safetensors")
        if path.parents[1].name != first.distillation_id
    ]
    written_ns = weights.stat().st_mtime_ns
    again = distill(changed)
    assert weights.stat().st_mtime_ns == written_ns
    assert again.distillation_id != first.distillation_id
    assert again.run_id == first.run_id
    assert set((config.storage.home / "shards").rglob("training-*.parquet")) == before
    assert [arm.name for arm in again.arms] == ["student"]
    assert again.student is not None
    assert first.student is not None
    assert again.student.sha256 != first.student.sha256


def test_too_few_rows_train_nothing_and_say_why(distilled: tuple[RunConfig, DistillSummary]) -> None:
    config = distilled[0]
    changed = parse_config(config.model_dump(mode="json") | {"distillation": SECTION | {"min_rows": 240}})
    found = distill(changed)
    assert found.arms == ()
    assert found.student is None
    assert found.reason is not None
    assert f"{found.data.n_rows} rows are left and distillation.min_rows is 240" in found.reason
    assert not (found.folder / "student").exists()


def test_a_run_with_the_section_ends_with_a_student(
    thickets, run: tuple[RunConfig, RunSummary], tmp_path: Path
) -> None:
    # In the home of the run: its shards are there, and its id is the same with the section as without.
    values = run[0].model_dump(mode="json") | {"distillation": SECTION}
    path = tmp_path / "my.yaml"
    path.write_text(dump_config(parse_config(values)))
    status, out, err = thickets("run", str(path))
    assert status == 0, err
    assert f"{run[1].run_id}, distillation " in out
    assert "The student is " in out
    folder = find_run(Home(run[0].storage.home), "latest")
    assert folder.run_id == run[1].run_id
    assert distill_config(Home(run[0].storage.home), folder, []).distillation is not None


@pytest.mark.slow
def test_several_problems_end_with_a_student_each(thickets, run: tuple[RunConfig, RunSummary], tmp_path: Path) -> None:
    first = run[0].single_problem.model_dump(mode="json")
    controls = {"rejection_sampling": False, "labels": False}
    values = run[0].model_dump(mode="json") | {
        "problem": None,
        "problems": [first, first | {"options": {"below": 9, "count": 2}}],
        "data": {"selection": 6, "validation": 5, "test": 6},
        "distillation": SECTION | {"examples": 20, "max_steps": 2, "controls": controls},
    }
    path = tmp_path / "my.yaml"
    path.write_text(dump_config(parse_config(values)))
    status, out, err = thickets("run", str(path), "--json")
    assert status == 0, err
    students = list((run[0].storage.home / "runs").glob("*/distillation/*/student/model.safetensors"))
    found = json.loads(out)
    told = [student["run_id"] for student in found["students"]]
    assert told == [each["run_id"] for each in found["runs"]]
    assert set(told) <= {path.parents[3].name for path in students}
    assert len(set(told)) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("population.size=3", "--set: 'population.size=3' would change the run that is distilled"),
        ("distillation.epochs=0", "distillation.epochs: found 0"),
        ("distillation.examples=5000", "problem.options count=2, below=12 make only 132 distinct questions"),
        ("distillation.generic_text=nowhere.txt", "distillation.generic_text: cannot read nowhere.txt: No such file"),
        ("distillation.objective=dpo", "distillation.objective: found 'dpo'"),
        ("distillation.min_rows=9000", "distillation.min_rows is 9000, but "),
    ],
)
def test_bad_input_is_one_line(thickets, run: tuple[RunConfig, RunSummary], override: str, message: str) -> None:
    found = refused(thickets("distill", run[1].run_id, "--home", home_of(run), "--set", override))
    assert found.startswith(message)


def test_a_run_that_is_not_finished_cannot_be_distilled(thickets, tmp_path: Path, tiny_model: Path) -> None:
    folder = Home(tmp_path / "home").run("tiny-12345678").create()
    folder.config.write_text(dump_config(settings(tmp_path, tiny_model)))
    assert "is not finished" in refused(thickets("distill", "tiny-12345678", "--home", str(tmp_path / "home")))


def test_a_signals_network_has_nothing_to_distil(thickets, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(dump_config(parse_config({"model": "signals-plateau", "problem": "signals", "distillation": {}})))
    found = refused(thickets("run", str(path), "--set", f"storage.home={tmp_path / 'home'}"))
    assert found.startswith("distillation: signals-plateau is a signals network, and only language models")


def test_without_the_extra_one_line_says_what_to_install(
    thickets, run: tuple[RunConfig, RunSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thickets.tasks.distillation.training.LIBRARIES", ("no-such-library", "torch"))
    found = refused(thickets("distill", "latest", "--home", home_of(run)))
    assert found.startswith("distillation: no-such-library not installed; install the extra thickets[distill]")


def test_the_preset_is_the_quickstart_with_a_section_more(monkeypatch: pytest.MonkeyPatch) -> None:
    from thickets.flows.config.file import load_config

    plain, with_section = load_config("quickstart"), load_config("quickstart-distill")
    assert with_section.distillation is not None
    assert with_section.model_copy(update={"name": plain.name, "distillation": None}) == plain


def test_a_section_that_was_left_out_can_be_set_field_by_field(
    config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    from thickets.flows.config.file import load_config

    path = tmp_path / "my.yaml"
    path.write_text(dump_config(config()))  # has `distillation: null`
    section = load_config(str(path), ["distillation.examples=7", "distillation.min_rows=2"]).distillation
    assert section is not None
    assert (section.examples, section.min_rows) == (7, 2)
    with pytest.raises(InputError, match=r"distillation.nonesuch: unknown field"):
        load_config(str(path), ["distillation.nonesuch=7"])


def test_the_student_can_be_promoted_and_asked(thickets, distilled: tuple[RunConfig, DistillSummary]) -> None:
    config = distilled[0]
    home = ("--home", str(config.storage.home))
    run_id = distilled[1].run_id
    # Forced, since a model of random weights need not be better than chance.
    promoted = json.loads(thickets("promote", run_id, "--student", "--force", "--json", *home)[1])
    assert (promoted["kind"], promoted["run_id"], promoted["is_champion"]) == ("student", run_id, True)
    client = mlflow.MlflowClient(distilled[1].tracking.mlflow_uri)
    version = client.get_model_version_by_alias(promoted["name"], "champion")
    # The latest of the run's students, which is that of another test's distillation.
    with_student = [each for each in finished_distillations(Home(config.storage.home).run(run_id)) if each.student]
    [found] = [each for each in with_student if each.tracking.mlflow_run_id == version.run_id]
    tags = client.get_run(version.run_id).data.tags
    assert tags["thickets.stage"] == "distillation"
    assert client.get_run(tags["mlflow.parentRunId"]).data.tags["thickets.run_id"] == found.run_id
    assert found.student is not None
    assert float(version.tags["thickets.test_accuracy"]) == pytest.approx(found.student.test.value, abs=1e-4)
    question = "Which is the largest number: 3 or 4?"
    asked = json.loads(thickets("ask", f"models:/{promoted['name']}@champion", question, "--json", *home)[1])
    assert asked["k"] == 1
