"""What a run leaves in MLflow besides its own page: a nested run per stage, and its ensemble as a model."""

from __future__ import annotations

from typing import Any

import polars as pl

from thickets.flows.models.logged import KeptAnswers, log_ensemble
from thickets.flows.plan import RunPlan
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.home import RunFolder
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.tracking.models import link_base
from thickets.storage.tracking.run import MetricPoint, Tracker
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.splits import Split
from thickets.tasks.results.text import score_metrics
from thickets.tasks.task import task

# The head of a large table is enough to browse; all of it is in the run's DuckDB file.
_ROWS = 1000


@task("log-lineage", retries=2)
def log_lineage(
    tracker: Tracker, plan: RunPlan, book: ScoreBook, population: pl.DataFrame, summary: RunSummary, folder: RunFolder
) -> None:
    """Log the base, the stages and the ensemble; a retry goes on with what an earlier attempt has logged."""
    base_id = link_base(tracker, plan.base)
    log_population(tracker, plan, population)
    with book.open() as store:
        log_scoring(tracker, plan, store, summary, folder)
        log_selection(tracker, plan, store, summary, folder)
        answers = KeptAnswers(ensemble_answers(store, summary), plan.splits.test.sha256, dict(plan.problem.identity()))
    question = plan.splits.test.examples[0].question
    model_id = log_ensemble(tracker, folder.manifest, summary.run_id, answers, question)
    log_evaluation(tracker, plan, summary, answers, {"base": base_id, "ensemble": model_id})


def ensemble_answers(scores: ScoreQueries, summary: RunSummary) -> pl.DataFrame:
    """Return the vote on every test question: example_id, answer, correct, score, votes, total, n_abstain."""
    experts = experts_of(summary)
    found = summary.evaluation
    return vote(ballots(scores, "test", experts), found.k, found.rule)


def log_population(tracker: Tracker, plan: RunPlan, population: pl.DataFrame) -> None:
    """Log how the candidates were drawn, and the first of them."""
    with tracker.child("population", "The candidates: how they were drawn, and the first of them.") as stage:
        stage.log_config(_section(plan, "population") | _section(plan, "noise"))
        stage.log_metrics({"n_candidates": population.height})
        stage.log_table("population", population.head(_ROWS))


def log_scoring(tracker: Tracker, plan: RunPlan, scores: ScoreQueries, summary: RunSummary, folder: RunFolder) -> None:
    """Log the candidates' scores on the selection split, and their tokens and time."""
    with tracker.child("scoring", "What the candidates scored on the selection split, and what it cost.") as stage:
        stage.log_config(_section(plan, "engine") | _section(plan, "scoring") | _section(plan, "decoding"))
        name = _log_split(stage, plan, plan.splits.selection)
        points = {f"tokens.{split}": float(count) for split, count in summary.n_tokens.items()}
        points |= {"wall_s": summary.wall_s, **summary.engine.model_dump()}
        stage.log_metrics(points)
        stage.log_metrics(score_metrics("base.", summary.base_selection, is_graded=summary.is_graded), dataset=name)
        mean = "mean_score" if summary.is_graded else "mean_accuracy"
        stage.log_metrics(
            [MetricPoint(f"sigma.{row.sigma:g}.{mean}", row.mean_accuracy) for row in summary.sigmas],
            dataset=name,
        )
        stage.log_table("sigma_statistics", scores.sigma_statistics())
        stage.log_table(
            "example_difficulty",
            scores.query(
                "SELECT * EXCLUDE (run_id) FROM example_difficulty WHERE split = 'selection' ORDER BY position"
            ),
        )
        stage.log_table("totals", pl.concat([scores.totals(split.name) for split in plan.splits]))
        _log_figure(stage, folder, "score_by_sigma")


def log_selection(
    tracker: Tracker, plan: RunPlan, scores: ScoreQueries, summary: RunSummary, folder: RunFolder
) -> None:
    """Log the selection: the leaderboard of the selection split, and K chosen on the validation split."""
    with tracker.child("selection", "Who was kept: the leaderboard, and K chosen on the validation split.") as stage:
        stage.log_config(_section(plan, "selection"))
        _log_split(stage, plan, plan.splits.selection)
        name = _log_split(stage, plan, plan.splits.validation)
        stage.log_metrics({"k": summary.evaluation.k})
        figure = "mean_score" if summary.is_graded else "accuracy"
        curve = [
            MetricPoint(f"{p.method}.{p.rule}.{figure}_by_k", p.accuracy.value, p.k) for p in summary.validation_curve
        ]
        stage.log_metrics(curve, dataset=name)
        stage.log_table("leaderboard", scores.leaderboard("selection", limit=_ROWS))
        stage.log_table("experts", pl.DataFrame([row.model_dump(exclude_none=True) for row in summary.experts]))
        _log_figure(stage, folder, "k_curve")


def log_evaluation(
    tracker: Tracker, plan: RunPlan, summary: RunSummary, answers: KeptAnswers, model_ids: dict[str, str]
) -> None:
    """Log the result on the test split, with base and ensemble as metrics of these models on this data set."""
    found, graded = summary.evaluation, summary.is_graded
    with tracker.child(
        "evaluation", "The test split: base, ensemble, controls, and the vote on every question."
    ) as stage:
        stage.log_config(_section(plan, "controls") | {"k": found.k, "method": found.method, "rule": found.rule})
        name = _log_split(stage, plan, plan.splits.test)
        for who, score in (("base", found.base), ("ensemble", found.ensemble)):
            stage.log_metrics(score_metrics(f"{who}.", score, is_graded=graded), model_id=model_ids[who], dataset=name)
        others = score_metrics("best_single.", found.best_single, is_graded=graded)
        for control in found.controls:
            others |= score_metrics(f"{control.name}.", control.accuracy, is_graded=graded)
        gap = found.ensemble_minus_base
        others |= {"ensemble_minus_base": gap.value, "ensemble_minus_base_low": gap.low}
        others |= {"ensemble_minus_base_high": gap.high}
        stage.log_metrics(others, dataset=name)
        stage.log_table("test_answers", answers.frame)


def _section(plan: RunPlan, name: str) -> dict[str, Any]:
    section = getattr(plan.config, name).model_dump(mode="json")
    return {f"{name}.{field}": value for field, value in section.items()}


def _log_split(stage: Tracker, plan: RunPlan, split: Split) -> tuple[str, str]:
    """Link a split as the stage's input; return its name and hash."""
    name = f"{plan.config.single_problem.title}/{split.name}"
    rows = [(example.id, example.question, example.answer) for example in split.examples]
    frame = pl.DataFrame(rows, schema=["example_id", "question", "answer"], orient="row")
    stage.log_dataset(name, split.sha256, frame, split.name)
    return name, split.sha256


def _log_figure(stage: Tracker, folder: RunFolder, name: str) -> None:
    if (path := folder.figures / f"{name}.png").is_file():
        stage.log_file(path, "figures")
