"""The MLflow run of a distillation: a child of the search's run, with training data, progress, student and verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import polars as pl

from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.models.logged import KeptAnswers, log_checkpoint
from thickets.flows.publish.below import links_below, open_below, unless_away
from thickets.flows.publish.tracking import links
from thickets.flows.results.cost import cost_metrics
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.distillation_text import distill_findings, distill_rows
from thickets.flows.results.rows import GET_HEADING, USE_HEADING
from thickets.flows.results.summary import TrackingLinks
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.mlflow_server import tracked
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.storage.files import write_text_atomically
from thickets.storage.models.manifest import Recipe
from thickets.storage.scores.database import BASE_ID, ScoreStore
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import STAGE_TAG, check_reachable
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.distillation.data import STUDENT
from thickets.tasks.distillation.results import Arm, ValidationPoint
from thickets.tasks.results.text import (
    OVER_BASE_HEADING,
    accuracy_heading,
    markdown_table,
    points,
    score_metrics,
    scored,
)
from thickets.tasks.task import task


def start_distill_tracking(plan: DistillPlan) -> Tracker | None:
    """Open the MLflow run and log what is known before anything is answered.

    Returns:
        The run; None if the store is away that the search has reached.

    Raises:
        RunError: The store cannot be reached, and is not that of the search.
    """
    return unless_away(plan.run, plan.found, lambda: _open_run(plan), "distillation")


@task("start-distill-tracking", retries=2)
def _open_run(plan: DistillPlan) -> Tracker:
    name = f"{plan.run.run_id}/distillation/{plan.id}"
    tags = {STAGE_TAG: "distillation", "thickets.distils": plan.run.run_id}
    return open_below(plan.run, plan.found, name, tags, {"distillation": plan.section.model_dump(mode="json")})


def distill_links(plan: DistillPlan, tracker: Tracker | None) -> TrackingLinks:
    """Return where the distillation is to be found; without a run in MLflow, the store that it will be logged in."""
    return links_below(plan.run, plan.found, tracker)


def watch_training(tracker: Tracker | None, arm: str) -> Callable[[ValidationPoint, float | None], None]:
    """Return a callback that logs every evaluation on the validation split to the terminal and MLflow.

    MLflow is not asked again once it has not taken one: the end of the distillation logs what is missing.
    """
    taking = tracker

    def on_point(point: ValidationPoint, loss: float | None) -> None:
        nonlocal taking
        said = "" if loss is None else f", training loss {loss:.3f}"
        log.info(f"  {arm}: step {point.step}, validation {point.n_correct}/{point.n}{said}")
        if (store := taking) is not None:
            taking = None
            with tracked(f"the training of {arm} as it goes"):
                check_reachable(store.uri)
                store.log_metrics(_training_metrics(arm, point, loss))
                taking = store

    return on_point


def log_distillation(plan: DistillPlan, tracker: Tracker | None, recipe: Recipe, summary: DistillSummary) -> None:
    """Log what was found to MLflow, which may be away, and to Prefect.

    Args:
        plan: The distillation.
        tracker: Its MLflow run; None opens one.
        recipe: How the student is prompted, decoded and judged.
        summary: What was found, as it is kept.
    """
    with tracked("the distillation"):
        _log_all(plan, tracker, recipe, summary)
    if plan.folder.unlogged.exists():
        log.warning("the distillation is in its folder; to log it when MLflow is back, run the same command again")
    show_markdown(distill_markdown(summary), "distillation", "The student on the test split")


@task("log-distillation", retries=1, retry_delays_s=[10.0])
def _log_all(plan: DistillPlan, tracker: Tracker | None, recipe: Recipe, summary: DistillSummary) -> None:
    if tracker is not None:
        check_reachable(tracker.uri)
        _log_into(tracker, plan, recipe, summary)
    else:
        with _open_run.fn(plan) as opened:
            found = summary.model_copy(update={"tracking": links(opened)})
            write_text_atomically(plan.folder.summary, found.model_dump_json(indent=2))
            _log_into(opened, plan, recipe, found)
    plan.folder.unlogged.unlink(missing_ok=True)


def _log_into(tracker: Tracker, plan: DistillPlan, recipe: Recipe, summary: DistillSummary) -> None:
    if summary.arms:
        _log_rows(tracker, plan)
        for arm in summary.arms:
            _log_training(tracker, arm)
        _log_student(tracker, plan, recipe)
    _log_found(tracker, plan, summary)


def _log_rows(tracker: Tracker, plan: DistillPlan) -> None:
    """Link every arm's training data as a data set, by the hash of its content, and keep the file."""
    rows = pl.read_parquet(plan.folder.data, hive_partitioning=False)
    for name in rows["arm"].unique(maintain_order=True):
        part = rows.filter(rows["arm"] == name)
        sha256 = hashlib.sha256(part.write_ndjson().encode()).hexdigest()
        tracker.log_dataset(f"{plan.run.config.single_problem.title}/distillation-{name}", sha256, part, "training")
    tracker.log_file(plan.folder.data)


def _log_training(tracker: Tracker, arm: Arm) -> None:
    """Log those points of an arm's training that MLflow has not taken while it went on."""
    known = tracker.steps(f"{arm.name}.validation.accuracy")
    missing = [point for point in arm.training.curve if point.step not in known]
    tracker.log_metrics(
        [each for point in missing for each in _training_metrics(arm.name, point, arm.training.losses.get(point.step))]
    )


def _training_metrics(arm: str, point: ValidationPoint, loss: float | None) -> list[MetricPoint]:
    metrics = [MetricPoint(f"{arm}.validation.accuracy", point.n_correct / point.n, point.step)]
    if loss is not None:
        metrics.append(MetricPoint(f"{arm}.training.loss", loss, point.step))
    return metrics


def _log_student(tracker: Tracker, plan: DistillPlan, recipe: Recipe) -> None:
    """Log the student as a model that `thickets promote --student` finds, with its answers to the test split."""
    run, folder, test = plan.run, plan.folder, plan.run.splits.test
    with ScoreStore.open(folder.work(STUDENT) / "scores.duckdb", f"{plan.id}-{STUDENT}") as store:
        answers = KeptAnswers(store.answers("test", [BASE_ID]), test.sha256, dict(run.problem.identity()))
    question = test.examples[0].question
    log_checkpoint(tracker, "student", folder.model(STUDENT), run.run_id, recipe, run.base.name, answers, question)


def _log_found(tracker: Tracker, plan: DistillPlan, found: DistillSummary) -> None:
    metrics: dict[str, float] = {
        "data.rows": found.data.n_rows,
        "data.hard": found.data.n_hard,
        "tokens.training_split": found.answer_tokens,
        "wall_s": found.wall_s,
    }
    if found.base_perplexity is not None:
        metrics["base.perplexity"] = found.base_perplexity
    if found.gain_kept is not None:
        metrics["gain_kept"] = found.gain_kept
    graded = found.evaluation.is_graded or any(arm.test.is_graded for arm in found.arms)
    for arm in found.arms:
        metrics |= {
            **score_metrics(f"{arm.name}.test.", arm.test, is_graded=graded),
            f"{arm.name}.test.tokens": arm.n_tokens,
            f"{arm.name}.perplexity": arm.perplexity,
            f"{arm.name}.train_s": arm.training.train_s,
            f"{arm.name}.train_tokens": arm.training.n_tokens,
        }
        for other in ("base", "best_single", "weight_average", "ensemble"):
            if (gap := getattr(arm, f"minus_{other}")) is not None:
                mine = f"{arm.name}.test.minus_{other}"
                metrics |= {mine: gap.value, f"{mine}_low": gap.low, f"{mine}_high": gap.high}
    if found.cost:
        names = {arm.name for arm in found.arms}
        metrics |= cost_metrics(row for row in found.cost.rows if row.name in names)
    tracker.log_metrics(metrics)
    tracker.log_file(plan.folder.summary)
    tracker.log_file(plan.run.home.run(plan.run.run_id).report)
    tracker.log_tags({"mlflow.note.content": distill_markdown(found)})


def distill_markdown(found: DistillSummary) -> str:
    """Return the table and findings of a distillation as Markdown, for MLflow and Prefect."""
    rows = distill_rows(found)
    heading = accuracy_heading((row.accuracy for row in rows), "test")
    costs = (GET_HEADING, USE_HEADING) if found.cost else ("tokens",)
    table = markdown_table(
        [f"{found.run_id}/{found.distillation_id}", heading, OVER_BASE_HEADING, *costs],
        [
            [
                row.label,
                scored(row.accuracy),
                points(row.over_base) if row.over_base else "",
                *((row.to_get, row.to_use) if found.cost else (f"{row.n_tokens:,}",)),
            ]
            for row in rows
        ],
    )
    first, *others = distill_findings(found)
    return f"""{first}

{table}

{chr(10).join(f"- {line}" for line in others)}

Folder: `{found.folder}`
"""
