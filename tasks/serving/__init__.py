"""Answering with what a run found: the ensemble or a single model, asked as the run asked it.

What `mlflow models serve`, `thickets ask` and `thickets evaluate` have in common. Nothing here imports Prefect, DuckDB
or MLflow (but for `ensemble_model`, which MLflow runs): a model is served where none of them need be installed.
"""

from __future__ import annotations

from thickets.tasks.serving.answerer import Answer, Answerer, Answers, Voter
from thickets.tasks.serving.opening import ensemble_voters, load_recipe_problem, open_answerer, open_ensemble

__all__ = [
    "Answer",
    "Answerer",
    "Answers",
    "Voter",
    "ensemble_voters",
    "load_recipe_problem",
    "open_answerer",
    "open_ensemble",
]
