"""What a run leaves in MLflow besides its own page: a nested run per stage, and its ensemble as a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl

from thickets.flows.models.logged import KeptAnswers, log_manifest
from thickets.flows.publish.finished import FinishedRun
from thickets.flows.results.summary import RunSummary, experts_of
from thickets.storage.home import RunFolder
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.tracking.models import link_base
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.text import score_metrics

# The head of a large table is enough to browse; all of it is in the run's DuckDB file.
_ROWS = 1000
# The base and the controls stand at places below 0.
_POPULATION = """
SELECT candidate_id, seed, sigma, position FROM candidates WHERE run_id = ? AND position >= 0 ORDER BY position LIMIT ?
"""


def log_lineage(tracker: Tracker, found: FinishedRun, scores: ScoreQueries) -> None:
    """Log base, stages, ensemble and merge; another attempt goes on with what an earlier one has logged."""
    base_id = link_base(tracker, found.record.base)
    log_population(tracker, found, scores)
    log_scoring(tracker, found, scores)
    log_selection(tracker, found, scores)
    votes = ensemble_answers(scores, found.summary)
    answers = KeptAnswers(votes, found.record.splits["test"], found.record.problem)
    question = scores.questions("test")["question"][0]
    model_id = log_manifest(tracker, found.folder.manifest, found.summary.run_id, answers, question)
    model_ids = {"base": base_id, "ensemble": model_id}
    if (of_merge := merge_answers(scores, found.summary)) is not None:
        alone = replace(answers, frame=of_merge)
        model_ids["merge"] = log_manifest(tracker, found.folder.merge, found.summary.run_id, alone, question)
    log_evaluation(tracker, found, scores, answers, model_ids)


def ensemble_answers(scores: ScoreQueries, summary: RunSummary) -> pl.DataFrame:
    """Return the vote on every test question, as `thickets.tasks.evaluation.voting.vote` has it."""
    experts = experts_of(summary)
    found = summary.evaluation
    return vote(ballots(scores, "test", experts), found.k, found.rule, Consensus(found.metric))


def merge_answers(scores: ScoreQueries, summary: RunSummary) -> pl.DataFrame | None:
    """Return what the merge that stands made of every test question; None where none stands."""
    if summary.merge is None or not summary.merge.is_accepted:
        return None
    return scores.answers("test", [summary.merge.chosen.id])


def log_population(tracker: Tracker, found: FinishedRun, scores: ScoreQueries) -> None:
    """Log how the candidates were drawn, and the first of them."""
    with tracker.child("population", "The candidates: how they were drawn, and the first of them.") as stage:
        stage.log_new_config(_section(found, "population") | _section(found, "noise"))
        stage.log_metrics({"n_candidates": found.summary.n_candidates})
        stage.log_table("population", scores.query(_POPULATION, [scores.run_id, _ROWS]))


def log_scoring(tracker: Tracker, found: FinishedRun, scores: ScoreQueries) -> None:
    """Log the candidates' scores on the selection split, and their tokens and time."""
    summary = found.summary
    with tracker.child("scoring", "What the candidates scored on the selection split, and what it cost.") as stage:
        stage.log_new_config(_section(found, "engine") | _section(found, "scoring") | _section(found, "decoding"))
        name = _log_split(stage, found, scores, "selection")
        points = {f"tokens.{split}": float(count) for split, count in summary.n_tokens.items()}
        points |= {"wall_s": summary.wall_s, **summary.engine.figures}
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
        stage.log_table("totals", pl.concat([scores.totals(split) for split in found.record.splits]))
        _log_figure(stage, found.folder, "score_by_sigma")


def log_selection(tracker: Tracker, found: FinishedRun, scores: ScoreQueries) -> None:
    """Log the selection: the leaderboard of the selection split, and K chosen on the validation split."""
    summary = found.summary
    with tracker.child("selection", "Who was kept: the leaderboard, and K chosen on the validation split.") as stage:
        stage.log_new_config(_section(found, "selection"))
        _log_split(stage, found, scores, "selection")
        name = _log_split(stage, found, scores, "validation")
        stage.log_metrics({"k": summary.evaluation.k})
        figure = "mean_score" if summary.is_graded else "accuracy"
        curve = [
            MetricPoint(f"{p.method}.{p.rule}.{figure}_by_k", p.accuracy.value, p.k) for p in summary.validation_curve
        ]
        stage.log_metrics(curve, dataset=name)
        stage.log_table("leaderboard", scores.leaderboard("selection", limit=_ROWS))
        stage.log_table("experts", pl.DataFrame([row.model_dump(exclude_none=True) for row in summary.experts]))
        _log_figure(stage, found.folder, "k_curve")


def log_evaluation(
    tracker: Tracker, run: FinishedRun, scores: ScoreQueries, answers: KeptAnswers, model_ids: dict[str, str]
) -> None:
    """Log the result on the test split; base, ensemble and merge also as metrics of these models on this data set."""
    found, graded = run.summary.evaluation, run.summary.is_graded
    with tracker.child(
        "evaluation", "The test split: base, ensemble, controls, and the vote on every question."
    ) as stage:
        stage.log_new_config(_section(run, "controls") | {"k": found.k, "method": found.method, "rule": found.vote})
        name = _log_split(stage, run, scores, "test")
        alone = [("merge", control.accuracy) for control in found.controls if control.name == "merge"]
        for who, score in (("base", found.base), ("ensemble", found.ensemble), *alone):
            stage.log_metrics(score_metrics(f"{who}.", score, is_graded=graded), model_id=model_ids[who], dataset=name)
        others = score_metrics("best_single.", found.best_single, is_graded=graded)
        for control in (each for each in found.controls if each.name not in model_ids):
            others |= score_metrics(f"{control.name}.", control.accuracy, is_graded=graded)
        gap = found.ensemble_minus_base
        others |= {"ensemble_minus_base": gap.value, "ensemble_minus_base_low": gap.low}
        others |= {"ensemble_minus_base_high": gap.high}
        stage.log_metrics(others, dataset=name)
        stage.log_table("test_answers", answers.frame)


def _section(found: FinishedRun, name: str) -> dict[str, Any]:
    section = getattr(found.config, name).model_dump(mode="json")
    return {f"{name}.{field}": value for field, value in section.items()}


def _log_split(stage: Tracker, found: FinishedRun, scores: ScoreQueries, split: str) -> tuple[str, str]:
    """Link a split as the stage's input; return its name and hash."""
    name, sha256 = f"{found.config.single_problem.title}/{split}", found.record.splits[split]
    stage.log_dataset(name, sha256, scores.questions(split), split)
    return name, sha256


def _log_figure(stage: Tracker, folder: RunFolder, name: str) -> None:
    if (path := folder.figures / f"{name}.png").is_file():
        stage.log_file(path, "figures")
