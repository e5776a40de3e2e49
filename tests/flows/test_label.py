"""A problem from a file is called by its file or its label wherever a person reads it, and in no identity."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from thickets.flows.config.file import dump_config
from thickets.flows.config.run import RunConfig
from thickets.flows.models.logged import recipe_title
from thickets.flows.models.promotion import default_name
from thickets.flows.plan import RunPlan, make_plan
from thickets.flows.results.runs import list_runs
from thickets.flows.search.search import make_manifest
from thickets.storage.home import Home
from thickets.storage.models.base import resolve_model
from thickets.storage.models.manifest import EnsembleManifest
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.serving import load_recipe_problem


@pytest.fixture
def plan(config: Callable[..., RunConfig], tmp_path: Path) -> Callable[..., RunPlan]:
    """Plan a run on the same questions in a file of any name."""

    def make(name: str, label: str | None = None) -> RunPlan:
        rows = [{"question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(60)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        problem = {"name": "file", "path": str(tmp_path / name), "verifier": "numeric", "label": label}
        made = config(problem=problem)
        loaded, data = load_problem(made.single_problem), made.data
        splits = draw_splits(loaded, selection=data.selection, validation=data.validation, test=data.test, seed=0)
        return make_plan(made, resolve_model(made.model), loaded, splits)

    return make


def manifest_of(plan: RunPlan) -> EnsembleManifest:
    experts = pl.DataFrame({"rank": [1], "seed": [7], "sigma": [0.1], "n_correct": [3], "weight": [1]})
    score = Accuracy(n_correct=3, n=10, value=0.3, low=0.1, high=0.6)
    return make_manifest(plan, experts, CurvePoint(k=1, method="top_k", rule="majority", accuracy=score))


def test_a_run_keeps_its_id_whatever_its_file_and_its_label_are(plan: Callable[..., RunPlan]) -> None:
    plans = [plan("reviews.jsonl"), plan("moved.jsonl"), plan("moved.jsonl", "Mine")]
    assert len({each.run_id for each in plans}) == len({each.fingerprint for each in plans}) == 1
    assert "reviews" not in json.dumps(plans[0].identity)


@pytest.mark.parametrize(("label", "title"), [(None, "My-reviews"), ("Films 2", "Films 2")])
def test_a_registered_model_is_called_by_it_and_answers_as_before(
    plan: Callable[..., RunPlan], label: str | None, title: str
) -> None:
    recipe = manifest_of(plan("My reviews.jsonl", label)).recipe
    assert recipe_title(recipe) == title
    assert load_recipe_problem(recipe).identity() == recipe.problem
    assert "path" not in recipe.problem_config


def test_the_manifest_of_any_other_problem_is_what_it_was(
    plan: Callable[..., RunPlan], config: Callable[..., RunConfig]
) -> None:
    made = config()
    loaded = load_problem(made.single_problem)
    splits = draw_splits(loaded, selection=12, validation=10, test=14, seed=0)
    manifest = manifest_of(make_plan(made, resolve_model(made.model), loaded, splits))
    assert "label" not in manifest.problem_config
    assert recipe_title(manifest.recipe) == "largest_number"


def test_names_of_registered_models() -> None:
    assert default_name("Films 2", "Qwen/Qwen2.5-1.5B-Instruct") == "films-2-qwen2-5-1-5b-instruct"
    assert default_name("отзывы", "a/tiny") == "tiny"  # MLflow's pages and addresses take plain letters


def test_runs_are_listed_under_it(thickets, config: Callable[..., RunConfig]) -> None:
    home = Home(config().storage.home)
    for run_id, label in (("one", None), ("two", "Films 2")):
        problem = {"name": "file", "path": "data/reviews.csv", "verifier": "exact", "label": label}
        home.run(run_id).create().config.write_text(dump_config(config(problem=problem)))
    old = home.run("old").create().config
    old.write_text(dump_config(config(problem=problem)).replace("label: Films 2", "colour: red"))  # another version's
    listed = {row.run_id: row.problem for row in list_runs(home)}
    assert listed == {"one": "reviews", "two": "Films 2", "old": "reviews"}
    out = thickets("runs", "--home", str(home.root))[1]
    assert "reviews" in out
    assert "Films 2" in out
