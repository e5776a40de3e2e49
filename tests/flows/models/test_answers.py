"""The ensemble as a model answers as the run did, in this process and in a fresh one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import polars as pl
import pytest
from mlflow.exceptions import MlflowException

from tests.flows.models.helpers import TEST_N, make_run, stored
from thickets.flows.publish.lineage import ensemble_answers
from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.evaluation.voting import vote
from thickets.tasks.serving import open_ensemble


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
    experts = [row.model_copy(update={"weight": n}) for row, n in zip(manifest.experts, weights, strict=True)]
    answerer = open_ensemble(manifest.model_copy(update={"vote": "weighted", "experts": experts}))
    cast, questions = stored(home, run)
    by_rank = pl.col("rank").cast(pl.Int64).replace_strict(dict(enumerate(weights, start=1)))
    expected = vote(cast.with_columns(weight=by_rank), 5, "weighted")["answer"].to_list()
    assert expected != vote(cast, 5)["answer"].to_list()
    assert [row.answer for row in answerer.ask(questions["question"].to_list()).rows] == expected


def test_the_method_and_the_weights_that_a_run_has_chosen_are_those_that_answer(root: Path, home: Home) -> None:
    chosen = make_run(root, selection={"k_values": [5], "methods": ["diverse"], "votes": ["weighted"]})
    manifest = EnsembleManifest.load(chosen.folder / "manifest.json")
    assert (manifest.method, manifest.vote) == ("diverse", "weighted")
    assert len({row.weight for row in manifest.experts}) > 1
    with open_scores(home, RunFolder(chosen.folder)) as reader:
        voted = ensemble_answers(reader, chosen)["answer"].to_list()
    questions = stored(home, chosen)[1]["question"].to_list()
    assert [row.answer for row in open_ensemble(manifest).ask(questions).rows] == voted


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


@pytest.mark.slow
def test_a_fresh_process_runs_the_code_that_is_kept_with_the_model(model_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys, json, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "answer = model.predict(pandas.DataFrame({'question': ['Which is the largest number: 3 or 4?']}))\n"
        "import thickets.tasks\n"
        "absent = [name for name in ('prefect', 'duckdb', 'thickets.flows', 'matplotlib') if name in sys.modules]\n"
        "print(json.dumps([thickets.tasks.__file__, absent, answer.to_dict('records')]))\n"
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
    assert not list(model_folder.rglob("*.nb[ci]"))  # Numba's cache, which it unpickles


def test_requirements_are_pinned_and_name_no_orchestration(model_folder: Path) -> None:
    lines = (model_folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line and "+" not in line for line in lines)
    names = {line.partition("==")[0] for line in lines}
    assert {"torch", "transformers", "mlflow-skinny"} <= names
    assert not names & {"prefect", "duckdb", "mlflow", "polars", "matplotlib"}
