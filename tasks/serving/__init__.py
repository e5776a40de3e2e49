"""Answers questions with an ensemble, a merge or a single model, with the prompts, decoding and judging of its run.

`mlflow models serve`, `thickets ask` and `thickets evaluate` use this package. So does `thickets serve`, through a
`Dispatcher`: many questions at once, on an engine in a process of its own that may be lost. It imports neither Prefect
nor DuckDB, and MLflow only in `ensemble_model`, which MLflow itself runs: none of them need be installed to serve a
model.
"""

from __future__ import annotations

from thickets.tasks.serving.answerer import Answer, Answerer, Answers
from thickets.tasks.serving.opening import (
    load_recipe_problem,
    merge_of,
    open_answerer,
    open_ensemble,
    recipe_reasoning,
)
from thickets.tasks.serving.questions import Voter

__all__ = [
    "Answer",
    "Answerer",
    "Answers",
    "Voter",
    "load_recipe_problem",
    "merge_of",
    "open_answerer",
    "open_ensemble",
    "recipe_reasoning",
]
