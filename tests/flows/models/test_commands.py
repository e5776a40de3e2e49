"""`thickets promote`, `ask` and `evaluate`, as a person at a terminal sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from tests.flows.command_line import refused
from tests.flows.models.helpers import NAME, TEST_N, stored
from thickets.flows.cli import main as cli
from thickets.flows.models.promotion import promote
from thickets.flows.results.summary import RunSummary
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.evaluation.voting import vote
from thickets.tasks.serving import open_ensemble
from thickets.tasks.types import Example


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
        (["latest", "?", "--like", "latest"], "--like: 'latest' is for a checkpoint or a hub id"),
        (["models:/nothing/1", "?", "--like", "latest"], "--like: 'latest' is for a checkpoint or a hub id"),
        (["somebody/some-model", "?"], "--like: missing; somebody/some-model is no run but a model"),
        (["somebody/some-model", "?", "--like", "latest"], "model: "),
        (["nothing", "?", "--like", "latest"], "model: there is no 'nothing'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(thickets, run: RunSummary, arguments: list[str], start: str) -> None:
    assert refused(thickets("ask", *arguments)).startswith(start)


def test_evaluate_measures_a_version_on_new_questions(
    thickets, home: Home, run: RunSummary, client: Any, new_data: Callable[..., str]
) -> None:
    promote(RunFolder(run.folder))
    questions = stored(home, run)[1]
    rows = [{"ask": row["question"], "gold": row["answer"]} for row in questions.to_dicts()]
    columns = ("--question-column", "ask", "--answer-column", "gold")
    status, out, _ = thickets("evaluate", f"models:/{NAME}@champion", new_data(rows), *columns, "--base", "--json")
    assert status == 0
    found = json.loads(out)
    answerer = open_ensemble(EnsembleManifest.load(run.folder / "manifest.json"))
    votes = answerer.answer([Example(str(i), row["ask"], row["gold"]) for i, row in enumerate(rows)])
    right = [row.answer == given["gold"] for row, given in zip(votes.rows, rows, strict=True)]
    assert (found["accuracy"]["n_correct"], found["accuracy"]["n"]) == (sum(right), TEST_N)
    assert 0 < sum(right) < TEST_N  # else the comparison says little
    assert found["saved"] == pytest.approx(votes.saved)
    assert found["base"]["n_correct"] == run.evaluation.base.n_correct
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
    assert f"{sum(right)}/{TEST_N}" in shown


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
