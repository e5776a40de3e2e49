"""A run's merge as a model: asked, logged, registered and evaluated like the ensemble, but it answers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import polars as pl
import pytest

from tests.flows.command_line import refused
from thickets.flows.cli import main as cli
from thickets.flows.models.logged import content_of
from thickets.flows.models.open import find_model
from thickets.flows.models.promotion import promote
from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import MergeManifest, load_manifest


@pytest.fixture
def home(merged: RunSummary) -> Home:
    return Home(merged.folder.parents[1])


@pytest.fixture
def client(merged: RunSummary) -> Any:
    return mlflow.MlflowClient(merged.tracking.mlflow_uri)


def stored_answers(home: Home, merged: RunSummary) -> pl.DataFrame:
    """The questions of the test split with the merge's answers, as the run kept them."""
    assert merged.merge is not None
    with open_scores(home, RunFolder(merged.folder)) as scores:
        answers = scores.answers("test", [merged.merge.chosen.id])
        return scores.questions("test").join(answers, on="example_id", suffix="_given", maintain_order="left")


def test_asked_alone_a_merge_answers_as_it_did_in_the_run_wherever_it_is_found(
    merged: RunSummary, home: Home, client: Any
) -> None:
    kept = stored_answers(home, merged)
    assert kept["answer_given"].n_unique() > 5  # else the comparison says little
    found = promote(RunFolder(merged.folder), "merge", "waves")
    assert (found.kind, found.is_champion, found.reason) == ("merge", True, "there was no champion")
    questions = kept["question"].to_list()
    for name, merge in ((merged.run_id, True), ("models:/waves@champion", False), (found.uri, False)):
        answerer = find_model(home, name, merge=merge).open()
        given = answerer.ask(questions)
        answerer.close()
        assert given.k == 1
        assert [row.answer for row in given.rows] == kept["answer_given"].to_list()
    version = client.get_model_version_by_alias("waves", "champion")
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    folder = Path(model.artifact_location.removeprefix("file://"))
    loaded = mlflow.pyfunc.load_model(str(folder)).predict(kept.select("question").to_pandas())
    assert loaded["answer"].to_list() == kept["answer_given"].to_list()


def test_a_registered_merge_leads_back_to_its_run(merged: RunSummary, client: Any) -> None:
    found = promote(RunFolder(merged.folder), "merge")
    assert found.name == "signals-signals-thicket"
    version = client.get_model_version(found.name, found.version)
    model = client.get_logged_model(found.model_id)
    assert (model.name, model.source_run_id, version.run_id) == ("merge", *[merged.tracking.mlflow_run_id] * 2)
    assert version.tags["thickets.run_id"] == merged.run_id
    assert merged.merge is not None
    assert model.params["label"] == merged.merge.chosen.label
    [control] = [each for each in merged.evaluation.controls if each.name == "merge"]
    assert {metric.key: metric.value for metric in model.metrics}["merge.accuracy"] == control.accuracy.value
    assert "test accuracy" in version.description
    folder = Path(model.artifact_location.removeprefix("file://"))
    manifest = load_manifest(folder / "artifacts" / "merge.json")
    assert isinstance(manifest, MergeManifest)
    assert manifest == MergeManifest.load(RunFolder(merged.folder).merge)
    # Beside the code a recipe, and no weights.
    kept = (path for path in folder.rglob("*") if path.is_file() and folder / "code" not in path.parents)
    assert sum(path.stat().st_size for path in kept) < 100_000
    outputs = client.get_run(merged.tracking.mlflow_run_id).outputs.model_outputs
    assert found.model_id in {output.model_id for output in outputs}


def test_the_same_questions_decide_between_a_merge_and_the_ensemble(merged: RunSummary) -> None:
    folder = RunFolder(merged.folder)
    assert promote(folder, name="both").is_champion
    found = promote(folder, "merge", "both")
    assert found.over_champion is not None
    assert f"on the same {found.over_champion.n} questions" in found.reason
    assert found.is_champion == (found.over_champion.low >= 0)
    assert not promote(folder, "merge", "both").is_new


def test_a_merge_that_the_run_no_longer_has_is_not_promoted(merged: RunSummary) -> None:
    folder = RunFolder(merged.folder)
    manifest = MergeManifest.load(folder.merge)
    manifest.model_copy(update={"label": "another"}).save(folder.merge)
    assert content_of(MergeManifest.load(folder.merge)) != content_of(manifest)
    with pytest.raises(InputError, match="has no merge in MLflow; run its config again"):
        promote(folder, "merge")
    folder.merge.unlink()
    with pytest.raises(InputError, match=r"--merge: .* has none"):
        promote(folder, "merge")


@pytest.fixture
def thickets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Home):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["thickets", *arguments, "--home", str(home.root)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call


def test_the_commands_take_a_merge(thickets, merged: RunSummary, home: Home, tmp_path: Path) -> None:
    kept = stored_answers(home, merged)
    status, out, err = thickets("promote", merged.run_id, "--merge", "--name", "by-hand")
    assert (status, out.strip()) == (0, "models:/by-hand@champion")
    assert "merge of" in err
    row = kept.filter(~pl.col("question").str.starts_with("-")).row(0, named=True)  # else it would be an option
    asked = json.loads(thickets("ask", merged.run_id, row["question"], "--merge", "--json")[1])
    assert (asked["answer"], asked["k"]) == (row["answer_given"], 1)
    data = tmp_path / "new.jsonl"
    rows = kept.head(40).select("question", "answer").to_dicts()
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for model, options in (("models:/by-hand@champion", ()), (merged.run_id, ("--merge",))):
        found = json.loads(thickets("evaluate", model, str(data), "--base", "--json", *options)[1])
        assert found["accuracy"]["n_correct"] == int(kept["correct"].head(40).sum())
        assert found["over_base"]["value"] == pytest.approx(found["accuracy"]["value"] - found["base"]["value"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("promote", "latest", "--merge", "--student"), "--student: and --merge exclude each other"),
        (("ask", "models:/nothing@champion", "?", "--merge"), "--merge: is for a run; models:/nothing@champion is one"),
        (
            ("ask", "./somewhere", "?", "--merge", "--like", "latest"),
            "--merge: is for a run; ./somewhere is asked like",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(thickets, arguments: tuple[str, ...], message: str) -> None:
    assert refused(thickets(*arguments)).startswith(message)
