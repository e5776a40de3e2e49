"""Models of a run in MLflow: what they answer and refuse, how they are promoted, and the way back to the data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import polars as pl
import pytest
import torch
from mlflow.exceptions import MlflowException
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows import cli
from flows.config_file import load_config, parse_config
from flows.history import open_scores
from flows.logged_models import TestAnswers, log_student
from flows.materialize import materialize
from flows.randopt import randopt
from flows.registry import default_name, promote
from flows.summary import RunSummary
from storage.errors import InputError
from storage.layout import Home, RunFolder
from storage.manifest import EnsembleManifest
from storage.models import resolve_model
from storage.tracked_models import process_uri
from storage.tracking import Tracker
from tasks.answering import open_ensemble
from tasks.statistics import paired_difference
from tasks.types import Example
from tasks.voting import ballots, vote
from tests.tiny_model import make_tiny_model

TEST_N = 24
NAME = "largest_number-model"


def make_run(folder: Path, **sections: Any) -> RunSummary:
    values = {
        "name": "tiny",
        "model": str(folder / "model"),
        "problem": {"name": "largest_number", "options": {"below": 10, "count": 2}},
        "data": {"selection": 12, "validation": 6, "test": TEST_N},
        "population": {"size": 7, "sigmas": [0.05, 0.2]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu"},
        "selection": {"k_values": [5]},
        "storage": {"home": str(folder / "home")},
    }
    return randopt(parse_config(values | sections))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Path:
    folder = tmp_path_factory.mktemp("registry")
    make_tiny_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def run(root: Path) -> RunSummary:
    return make_run(root)


@pytest.fixture(scope="module")
def home(run: RunSummary) -> Home:
    return Home(run.folder.parents[1])


@pytest.fixture(scope="module")
def client(run: RunSummary) -> Any:
    return mlflow.MlflowClient(run.tracking.mlflow_uri)


@pytest.fixture(scope="module")
def model_folder(run: RunSummary, client: Any) -> Path:
    """The logged ensemble's folder."""
    [output] = client.get_run(run.tracking.mlflow_run_id).outputs.model_outputs
    return Path(client.get_logged_model(output.model_id).artifact_location.removeprefix("file://"))


@pytest.fixture
def thickets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, home: Home):
    """Call the command line on the run's home; gives exit status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["thickets", *arguments, "--home", str(home.root)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call


def refused(result: tuple[int, str, str]) -> str:
    status, out, err = result
    assert (status, out) == (2, "")
    [line] = [line for line in err.splitlines() if line.startswith("error: ")]
    return line.removeprefix("error: ")


def stored(home: Home, run: RunSummary) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The experts' ballots on the test split and the questions, both as the run kept them."""
    with open_scores(home, RunFolder(run.folder)) as reader:
        cast = ballots(reader, "test", reader.leaderboard("selection", limit=run.evaluation.k))
        questions = reader.query(
            "select example_id, question, answer from examples where split = 'test' order by position"
        )
    return cast, questions


# What it answers


def test_every_expert_answers_as_it_did_in_the_run_and_so_does_the_vote(home: Home, run: RunSummary) -> None:
    cast, questions = stored(home, run)
    answerer = open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))
    asked = questions["question"].to_list()
    everybody = answerer.ask(asked, every=True)
    assert everybody.saved == 0
    for place, row in enumerate(everybody.rows):
        example_id = questions["example_id"][place]
        assert list(row.ballots) == cast.filter(pl.col("example_id") == example_id)["answer"].to_list()
    voted = vote(cast, 5)["answer"].to_list()
    assert len(set(voted)) > 2  # else the comparison says little
    assert [row.answer for row in everybody.rows] == voted
    early = answerer.ask(asked)
    assert [row.answer for row in early.rows] == voted
    assert 0 < early.saved == 1 - sum(row.n_asked for row in early.rows) / (5 * TEST_N)
    for full, short in zip(everybody.rows, early.rows, strict=True):
        assert short.ballots == full.ballots[: short.n_asked]
        assert short.margin <= full.margin or short.n_asked == 5
    one = answerer.ask(asked, k=1)
    assert [row.answer for row in one.rows] == cast.filter(pl.col("rank") == 1)["answer"].to_list()


def test_a_temperature_makes_experts_draw_the_same_at_every_call(run: RunSummary) -> None:
    answerer = open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))
    questions = [f"Which is the largest number: {i} or {i + 1}?" for i in range(6)]
    hot = answerer.ask(questions, temperature=1.5, every=True)
    assert hot == answerer.ask(questions, temperature=1.5, every=True)
    assert hot != answerer.ask(questions, every=True)
    for bad in ({"k": 6}, {"k": -1}, {"temperature": 2.5}):
        with pytest.raises(InputError, match=f"^{next(iter(bad))}: found"):
            answerer.ask(questions, **bad)


def test_weighted_votes_are_weighted_by_selection_scores(home: Home, run: RunSummary) -> None:
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    weights = [9, 1, 1, 1, 1]
    experts = [row.model_copy(update={"n_correct": n}) for row, n in zip(manifest.experts, weights, strict=True)]
    answerer = open_ensemble(manifest.model_copy(update={"vote": "weighted", "experts": experts}))
    cast, questions = stored(home, run)
    by_rank = pl.col("rank").cast(pl.Int64).replace_strict(dict(enumerate(weights, start=1)))
    expected = vote(cast.with_columns(weight=by_rank), 5, "weighted")["answer"].to_list()
    assert expected != vote(cast, 5)["answer"].to_list()
    assert [row.answer for row in answerer.ask(questions["question"].to_list()).rows] == expected


def test_mlflow_loads_the_ensemble_and_it_answers(home: Home, run: RunSummary, model_folder: Path) -> None:
    cast, questions = stored(home, run)
    loaded = mlflow.pyfunc.load_model(str(model_folder))
    found = loaded.predict(questions.select("question").to_pandas())
    assert found["answer"].to_list() == vote(cast, 5)["answer"].to_list()
    assert found["votes"].isna().all()
    full = loaded.predict(questions.select("question").to_pandas()[:1], params={"return_votes": True, "k": 3})
    first = cast.filter(pl.col("example_id") == questions["example_id"][0], pl.col("rank") <= 3)
    assert json.loads(full["votes"][0]) == first["answer"].to_list()
    assert full["n_asked"].to_list() == [3]
    example = loaded.input_example
    assert list(example.columns) == ["question"]
    with pytest.raises(MlflowException, match="k: found 6; 1 to 5 experts can vote"):
        loaded.predict(pd.DataFrame({"question": ["?"]}), params={"k": 6})


def test_a_fresh_process_runs_the_code_that_is_kept_with_the_model(model_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys, json, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "answer = model.predict(pandas.DataFrame({'question': ['Which is the largest number: 3 or 4?']}))\n"
        "import tasks\n"
        "absent = [name for name in ('prefect', 'duckdb', 'flows', 'matplotlib') if name in sys.modules]\n"
        "print(json.dumps([tasks.__file__, absent, answer.to_dict('records')]))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(model_folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment,
    )
    where, absent, [answer] = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).is_relative_to(model_folder)
    assert absent == []
    assert 3 <= answer["n_asked"] <= 5
    assert "expert calls" in done.stderr


def test_requirements_are_pinned_and_name_no_orchestration(model_folder: Path) -> None:
    lines = (model_folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line and "+" not in line for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert {"torch", "transformers", "mlflow-skinny"} <= names
    assert not names & {"prefect", "duckdb", "mlflow", "polars", "matplotlib"}


# What it refuses


@pytest.fixture
def other_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def make(**changes: Any) -> str:
        path = make_tiny_model(tmp_path / "other", **changes)
        monkeypatch.setenv("THICKETS_BASE_MODEL", str(path))
        return resolve_model(str(path)).sha256

    return make


def test_another_base_is_an_error_that_names_both_hashes(
    run: RunSummary, model_folder: Path, other_base: Callable[..., str]
) -> None:
    other = other_base(seed=1)
    assert other != run.model_sha256
    with pytest.raises(InputError) as caught:
        open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))
    message = str(caught.value)
    assert message.startswith("THICKETS_BASE_MODEL: ")
    assert other in message
    assert run.model_sha256 in message
    with pytest.raises(Exception, match=run.model_sha256):
        mlflow.pyfunc.load_model(str(model_folder))


def test_the_same_weights_with_another_prompt_template_are_refused(
    run: RunSummary, other_base: Callable[..., str]
) -> None:
    assert other_base(chat=False) == run.model_sha256
    with pytest.raises(InputError, match="chat template or tokenizer of the model is not what the run had"):
        open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))


def test_the_same_base_elsewhere_will_do(run: RunSummary, other_base: Callable[..., str]) -> None:
    assert other_base() == run.model_sha256
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    gone = manifest.model_copy(update={"base": manifest.base.model_copy(update={"name": "/nowhere/at/all"})})
    assert open_ensemble(gone).k == 5


def test_a_base_that_is_not_here_says_how_to_name_it(run: RunSummary) -> None:
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    gone = manifest.model_copy(update={"base": manifest.base.model_copy(update={"name": "/nowhere/at/all"})})
    with pytest.raises(InputError, match="set THICKETS_BASE_MODEL to the base model's folder"):
        open_ensemble(gone)


def test_manifests_that_do_not_fit_this_version_are_refused(run: RunSummary) -> None:
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    old = manifest.model_copy(update={"format_version": 1, "problem_config": None, "engine": None})
    with pytest.raises(InputError, match="run the config of its run again"):
        open_ensemble(old)
    noise = manifest.noise.model_copy(update={"version": 2})
    with pytest.raises(InputError, match="noise version is 2"):
        open_ensemble(manifest.model_copy(update={"noise": noise}))
    with pytest.raises(InputError, match=r"problem largest_number is not what the run had: version is 1, was 0"):
        open_ensemble(manifest.model_copy(update={"problem": {**manifest.problem, "version": 0}}))


def test_nothing_that_is_logged_is_a_pickle(home: Home, student: str) -> None:
    files = [path for folder in (home.mlflow_artifacts, home.runs) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert any(path.name == "model.safetensors" for path in files)
    for path in files:
        assert path.suffix not in (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".bin", ".pyc"), path
        with path.open("rb") as file:
            start = file.read(2)
        assert not (start[:1] == b"\x80" and start[1:] in b"\x02\x03\x04\x05"), path
        if zipfile.is_zipfile(path):
            assert not [name for name in zipfile.ZipFile(path).namelist() if name.endswith(".pkl")], path


# From the registry to the data


def test_a_registered_version_leads_back_to_everything_it_was_made_from(
    run: RunSummary, client: Any, home: Home
) -> None:
    from prefect.client.orchestration import get_client

    found = promote(RunFolder(run.folder), name="walk")
    version = client.get_model_version_by_alias("walk", "champion")
    assert (version.version, version.tags["thickets.run_id"]) == (found.version, run.run_id)
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    parent = client.get_run(version.run_id)
    assert model.source_run_id == parent.info.run_id == run.tracking.mlflow_run_id
    assert parent.data.params["population.size"] == "7"
    [base_input] = parent.inputs.model_inputs
    base = client.get_logged_model(base_input.model_id)
    assert base.params["sha256"] == run.model_sha256
    hashes = {tag.value for each in parent.inputs.dataset_inputs for tag in each.tags if tag.key == "sha256"}
    assert len(hashes) == 3
    assert version.tags["thickets.test_sha256"] in hashes

    experiment = parent.info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    stages = {child.info.run_name: child for child in children}
    assert set(stages) == {"population", "scoring", "selection", "evaluation"}
    assert {child.info.status for child in children} == {"FINISHED"}
    artifacts = {
        name: {item.path for part in ("tables", "figures") for item in client.list_artifacts(child.info.run_id, part)}
        for name, child in stages.items()
    }
    assert "tables/population.csv" in artifacts["population"]
    assert {"tables/sigma_statistics.csv", "figures/score_by_sigma.png"} <= artifacts["scoring"]
    assert {"tables/leaderboard.parquet", "figures/k_curve.png"} <= artifacts["selection"]
    assert "tables/test_answers.parquet" in artifacts["evaluation"]
    assert stages["evaluation"].data.metrics["ensemble.accuracy"] == pytest.approx(run.evaluation.ensemble.value)

    [accuracy] = [metric for metric in model.metrics if metric.key == "ensemble.accuracy"]
    assert accuracy.value == pytest.approx(run.evaluation.ensemble.value)
    assert accuracy.run_id == stages["evaluation"].info.run_id
    assert accuracy.dataset_name == "largest_number/test"
    assert version.tags["thickets.test_sha256"].startswith(accuracy.dataset_digest)
    assert [metric.value for metric in base.metrics if metric.key == "base.accuracy"] == [
        pytest.approx(run.evaluation.base.value)
    ]

    flow_run_id = parent.data.tags["prefect.flow_run_id"]
    with get_client(sync_client=True) as prefect:
        assert prefect.read_flow_run(flow_run_id).name == "tiny-n7"
        from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        [back] = [each for each in prefect.read_artifacts(artifact_filter=mine) if each.key == "mlflow-run"]
    assert parent.info.run_id in str(back.data)


# Promotion


@pytest.fixture
def champion(run: RunSummary, client: Any, request: pytest.FixtureRequest):
    """A registered model of the test's own, whose champion is the run's ensemble."""
    name = f"m-{request.node.name[:60]}"
    promote(RunFolder(run.folder), name=name)
    return name


@pytest.fixture(scope="module")
def rival(root: Path, run: RunSummary) -> RunSummary:
    """Another population, asked the same test questions."""
    return make_run(root, population={"size": 7, "sigmas": [0.05, 0.2], "seed": 1})


def rewrite_answers(client: Any, name: str, correct: bool) -> None:
    """Make it look as if the champion had been right, or wrong, everywhere."""
    version = client.get_model_version_by_alias(name, "champion")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    path = Path(model.artifact_location.removeprefix("file://")) / "test_answers.parquet"
    pl.read_parquet(path).with_columns(correct=pl.lit(correct)).write_parquet(path)


@pytest.fixture
def keeps_answers(model_folder: Path):
    path = model_folder / "test_answers.parquet"
    content = path.read_bytes()
    yield
    path.write_bytes(content)


def test_the_first_version_is_champion_and_the_same_model_is_registered_once(run: RunSummary, client: Any) -> None:
    first, again = (promote(RunFolder(run.folder), name="once") for _ in range(2))
    assert (first.is_new, first.is_champion, first.reason) == (True, True, "there was no champion")
    assert (again.is_new, again.version, again.is_champion) == (False, "1", True)
    assert again.reason == "it is the champion already (there was no champion)"
    assert len(client.search_model_versions("name = 'once'")) == 1


def test_the_same_questions_decide_by_their_paired_interval(
    home: Home, run: RunSummary, rival: RunSummary, champion: str
) -> None:
    theirs, ours = (vote(stored(home, each)[0], 5)["correct"].to_list() for each in (run, rival))
    expected = paired_difference(ours, theirs)
    found = promote(RunFolder(rival.folder), name=champion)
    assert found.over_champion == expected
    assert found.is_champion == (expected.low >= 0)
    assert f"on the same {TEST_N} questions" in found.reason


@pytest.mark.usefixtures("keeps_answers")
def test_a_loss_keeps_the_champion_unless_it_is_forced_and_that_is_recorded(
    rival: RunSummary, champion: str, client: Any
) -> None:
    rewrite_answers(client, champion, correct=True)
    found = promote(RunFolder(rival.folder), name=champion)
    assert (found.is_new, found.is_champion, found.forced) == (True, False, False)
    assert found.reason.startswith("a loss against the champion, version 1, is not excluded")
    assert client.get_model_version_by_alias(champion, "champion").version == "1"
    forced = promote(RunFolder(rival.folder), name=champion, force=True)
    assert (forced.is_new, forced.version, forced.is_champion, forced.forced) == (False, "2", True, True)
    moved = client.get_model_version_by_alias(champion, "champion")
    assert (moved.version, moved.tags["thickets.forced"]) == ("2", "true")
    assert moved.tags["thickets.decision"].startswith("forced, although a loss against")
    again = promote(RunFolder(rival.folder), name=champion)
    assert again.forced
    assert client.get_model_version_by_alias(champion, "champion").tags["thickets.forced"] == "true"


@pytest.mark.usefixtures("keeps_answers")
def test_a_version_that_is_no_worse_becomes_champion(rival: RunSummary, champion: str, client: Any) -> None:
    rewrite_answers(client, champion, correct=False)
    found = promote(RunFolder(rival.folder), name=champion)
    assert (found.is_champion, found.forced) == (True, False)
    assert "is not better" in found.reason
    assert client.get_model_version_by_alias(champion, "champion").version == "2"


def test_other_test_questions_are_no_comparison(root: Path, champion: str, client: Any) -> None:
    data = {"selection": 12, "validation": 6, "test": TEST_N, "seed": 1}
    other = make_run(root, data=data)
    found = promote(RunFolder(other.folder), name=champion)
    assert (found.is_new, found.is_champion, found.over_champion) == (True, False, None)
    assert "was asked other test questions" in found.reason
    assert client.get_model_version_by_alias(champion, "champion").version == "1"


def test_the_default_name_is_problem_and_base() -> None:
    assert default_name("gsm8k", "Qwen/Qwen2.5-1.5B-Instruct") == "gsm8k-qwen2-5-1-5b-instruct"
    assert default_name("reasoning_gym:chain_sum", "/models/My Model.gguf") == "reasoning_gym-chain_sum-my-model"


def test_promote_on_the_command_line(thickets, run: RunSummary) -> None:
    status, out, err = thickets("promote", run.run_id)
    assert (status, out) == (0, f"models:/{NAME}@champion\n")
    assert "champion: yes, " in err
    assert json.loads(thickets("promote", run.run_id, "--json")[1])["version"] == "1"
    assert refused(thickets("promote", run.run_id, "--student", "--ensemble")).startswith("--ensemble: ")
    assert refused(thickets("promote", run.run_id, "--name", "a/b")).startswith("--name: 'a/b' cannot name a model")


def test_a_run_without_a_student_says_how_to_get_one(thickets, rival: RunSummary) -> None:
    assert "has no student in MLflow; distil it first" in refused(thickets("promote", rival.run_id, "--student"))


# ask and evaluate


def test_ask_shows_the_vote(thickets, home: Home, run: RunSummary) -> None:
    cast, questions = stored(home, run)
    question, example_id = questions["question"][0], questions["example_id"][0]
    expected = vote(cast, 5).filter(pl.col("example_id") == example_id)["answer"][0]
    promote(RunFolder(run.folder))
    for model in (run.run_id, f"models:/{NAME}@champion", f"models:/{NAME}/1"):
        found = json.loads(thickets("ask", model, question, "--votes", "--json")[1])
        assert found["answer"] == expected
        assert found["votes"] == cast.filter(pl.col("example_id") == example_id)["answer"].to_list()
    status, out, _ = thickets("ask", run.run_id, question)
    assert status == 0
    assert out.splitlines()[0] == expected
    assert "of 5 experts asked, lead " in out
    assert "expert" in thickets("ask", run.run_id, question, "--votes", "--k", "2")[1]


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["latest", " "], "question: is empty"),
        (["latest", "?", "--k", "6"], "k: found 6; 1 to 5 experts"),
        (["models:/nothing/1", "?"], "MODEL: there is no models:/nothing/1"),
        (["models:/nothing@champion", "?"], "MODEL: there is no models:/nothing@champion"),
        (["models:/m-0123", "?"], "MODEL: there is no models:/m-0123"),
        (["runs:/0123/ensemble", "?"], "MODEL: there is no runs:/0123/ensemble"),
        (["nothing", "?"], "RUN: 'nothing' fits no run"),
        (["latest", "?", "--like", "latest"], "--like: 'latest' is for a checkpoint folder"),
    ],
)
def test_what_cannot_be_asked_is_one_line(thickets, run: RunSummary, arguments: list[str], start: str) -> None:
    assert refused(thickets("ask", *arguments)).startswith(start)


@pytest.fixture
def new_data(tmp_path: Path) -> Callable[..., str]:
    def write(rows: list[dict], name: str = "new.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def test_evaluate_measures_a_version_on_new_questions(
    thickets, home: Home, run: RunSummary, client: Any, new_data: Callable[..., str]
) -> None:
    promote(RunFolder(run.folder))
    rows = [
        {"ask": f"Which is the largest number: {a} or {b}?", "gold": str(max(a, b))}
        for a in range(6)
        for b in range(a + 1, 6)
    ]
    columns = ("--question-column", "ask", "--answer-column", "gold")
    status, out, _ = thickets("evaluate", f"models:/{NAME}@champion", new_data(rows), *columns, "--base", "--json")
    assert status == 0
    found = json.loads(out)
    answerer = open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))
    votes = answerer.answer([Example(str(i), row["ask"], row["gold"]) for i, row in enumerate(rows)])
    right = [row.answer == given["gold"] for row, given in zip(votes.rows, rows, strict=True)]
    assert (found["accuracy"]["n_correct"], found["accuracy"]["n"]) == (sum(right), 15)
    assert 0 < sum(right) < 15  # else the comparison says little
    assert found["saved"] == pytest.approx(votes.saved)
    assert found["base"]["n"] == 15
    tracked = client.get_run(found["mlflow_run_id"])
    [data] = tracked.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in data.tags}["sha256"] == found["sha256"]
    [given] = tracked.inputs.model_inputs
    version = client.get_model_version_by_alias(NAME, "champion")
    assert version.source == f"models:/{given.model_id}"
    assert tracked.data.metrics["accuracy"] == pytest.approx(found["accuracy"]["value"])
    about_model = [m for m in client.get_logged_model(given.model_id).metrics if m.run_id == found["mlflow_run_id"]]
    assert {"accuracy", "accuracy_low", "saved"} <= {metric.key for metric in about_model}
    shown = thickets("evaluate", run.run_id, new_data(rows), *columns)[1]
    assert f"{sum(right)}/15" in shown


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"question": "Which is the largest number: 1 or 2?"}], "no column 'answer'"),
        ([{"question": "?", "answer": "two"}], "the gold answer 'two' is not one that largest_number would mark right"),
        ([], "there are no rows"),
    ],
)
def test_data_that_does_not_fit_is_one_line(thickets, run: RunSummary, new_data, rows: list, found: str) -> None:
    message = refused(thickets("evaluate", run.run_id, new_data(rows)))
    assert message.startswith("DATA is ")
    assert found in message


@pytest.mark.parametrize("command", ["promote", "ask", "evaluate"])
def test_every_command_has_help_with_an_example(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr("sys.argv", ["thickets", command, "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Example: " in capsys.readouterr().out


# A model of its own


@pytest.fixture(scope="module")
def checkpoint(home: Home, run: RunSummary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An expert as a checkpoint, in the student's place: one is logged like the other."""
    folder = tmp_path_factory.mktemp("student") / "checkpoint"
    materialize(home, RunFolder(run.folder), 1, folder)
    return folder


@pytest.fixture(scope="module")
def student(home: Home, run: RunSummary, checkpoint: Path) -> str:
    """MLflow's id of a logged student."""
    cast, questions = stored(home, run)
    single = cast.filter(pl.col("rank") == 1).select("example_id", "answer", "correct")
    manifest = EnsembleManifest.load(run.folder / "manifest.json")
    config = load_config(str(run.folder / "config.yaml"))
    tags = {"thickets.run_id": f"{run.run_id}-student"}
    with Tracker.start(home, config.tracking.experiment, "student", tags) as tracker:
        answers = TestAnswers(single, "0" * 64, manifest.problem)
        return log_student(
            tracker, checkpoint, run.run_id, manifest.recipe, manifest.base.name, answers, questions["question"][0]
        )


def test_a_student_is_an_ordinary_checkpoint(client: Any, checkpoint: Path, student: str) -> None:
    folder = Path(client.get_logged_model(student).artifact_location.removeprefix("file://"))
    ours, theirs = (AutoModelForCausalLM.from_pretrained(path) for path in (folder / "model", checkpoint))
    assert ours.dtype == theirs.dtype
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    same = AutoTokenizer.from_pretrained(folder / "model")
    assert same.chat_template == AutoTokenizer.from_pretrained(checkpoint).chat_template
    pipeline = mlflow.transformers.load_model(str(folder))
    assert torch.equal(next(pipeline.model.parameters()), next(theirs.parameters()))
    about = (folder / "MLmodel").read_text()
    assert "signature" in about
    assert str(checkpoint) not in about
    chat = {"messages": [{"role": "user", "content": "Which is the largest number: 3 or 4?"}], "max_tokens": 4}
    [reply] = mlflow.pyfunc.load_model(str(folder)).predict(chat)
    assert reply["choices"][0]["message"]["role"] == "assistant"


def test_a_student_and_a_checkpoint_are_asked_like_the_run(
    thickets, home: Home, run: RunSummary, checkpoint: Path, student: str, new_data: Callable[..., str]
) -> None:
    cast, questions = stored(home, run)
    expected = cast.filter(pl.col("rank") == 1)
    data = new_data(questions.select("question", "answer").to_dicts())
    for arguments in ([f"models:/{student}"], [str(checkpoint), "--like", run.run_id]):
        model, *like = arguments
        found = json.loads(thickets("evaluate", model, data, "--base", "--json", *like)[1])
        assert found["k"] == 1
        assert found["accuracy"]["n_correct"] == expected["correct"].sum()
        assert found["base"]["n_correct"] == run.evaluation.base.n_correct
        asked = json.loads(thickets("ask", model, questions["question"][0], "--json", *like)[1])
        assert asked["answer"] == expected["answer"][0]
    assert refused(thickets("ask", str(checkpoint), "?")).startswith("--like: missing")


def test_a_student_is_promoted_beside_ensembles(thickets, run: RunSummary, student: str, client: Any) -> None:
    found = json.loads(thickets("promote", run.run_id, "--student", "--name", "students", "--json")[1])
    assert (found["kind"], found["model_id"], found["is_champion"]) == ("student", student, True)
    with process_uri(run.tracking.mlflow_uri):
        loaded = mlflow.pyfunc.load_model("models:/students@champion")
    assert loaded.metadata.signature is not None
