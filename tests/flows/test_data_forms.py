"""A run on chat data and worked examples: what other machines and served models get of it needs none of its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl

from thickets.flows.config.run import RunConfig
from thickets.flows.placement.engines import scoring_job
from thickets.flows.plan import make_plan
from thickets.flows.search.search import make_manifest
from thickets.storage.models.base import resolve_model
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.splits import draw_splits
from thickets.tasks.results.evaluation import CurvePoint
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.serving import load_recipe_problem
from thickets.tasks.types import Example


def test_a_plan_of_data_in_verl_s_form_travels_without_its_files(
    config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": f"What is {n}+1? Answer after ####."}],
            "reward_model": {"style": "rule", "ground_truth": str(n + 1)},
        }
        for n in range(60)
    ]
    data, shown = tmp_path / "train.parquet", tmp_path / "shown.json"
    pl.DataFrame(rows[2:]).write_parquet(data)
    shown.write_text(json.dumps(rows[:2]))
    problem = {"name": "file", "path": str(data), "verifier": "numeric", "examples": str(shown)}
    problem |= {"question_column": "prompt", "answer_column": "reward_model.ground_truth"}
    made = config(problem=problem)
    loaded, sizes = load_problem(made.single_problem), made.data
    splits = draw_splits(loaded, selection=sizes.selection, validation=sizes.validation, test=sizes.test, seed=0)
    plan = make_plan(made, resolve_model(made.model), loaded, splits)
    for path in (data, shown):
        path.unlink()

    assert load_problem(scoring_job(plan).problem).identity() == plan.problem.identity()

    experts = pl.DataFrame({"rank": [1], "seed": [7], "sigma": [0.1], "n_correct": [3], "weight": [1]})
    score = Accuracy(n_correct=3, n=10, value=0.3, low=0.1, high=0.6)
    recipe = make_manifest(plan, experts, CurvePoint(k=1, method="top_k", rule="majority", accuracy=score)).recipe
    assert str(tmp_path) not in recipe.model_dump_json()
    block = plan.blocks[0]
    asked = Example("new", block.examples[0].question, "")
    served = load_recipe_problem(recipe).messages(asked)
    assert served == loaded.messages(block.examples[0])
    assert [message["content"] for message in served[:4]] == [
        *("What is 0+1? Answer after ####.", "1", "What is 1+1? Answer after ####.", "2"),
    ]
    assert all(message["content"] in block.prompts[0] for message in served)
