"""The MLflow run of a distillation: a child of the search's run, with training data, progress, student and verdict."""

from __future__ import annotations

import getpass
import hashlib
from collections.abc import Callable

import polars as pl

from thickets.flows.config.file import dump_config, flatten
from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.models.logged import KeptAnswers, log_student
from thickets.flows.publish.tracking import links
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.distillation_text import distill_findings, distill_rows
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.storage.models.manifest import Recipe
from thickets.storage.scores.database import BASE_ID, ScoreStore
from thickets.storage.tracking.run import MetricPoint, Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, STAGE_TAG
from thickets.tasks.distillation.data import STUDENT
from thickets.tasks.distillation.results import ValidationPoint
from thickets.tasks.results.text import (
    OVER_BASE_HEADING,
    accuracy_heading,
    markdown_table,
    points,
    score_metrics,
    scored,
)
from thickets.tasks.task import task


@task("start-distill-tracking", retries=2)
def start_distill_tracking(plan: DistillPlan) -> Tracker:
    """Open the MLflow run and log what is known before anything is answered."""
    found = plan.found
    name = f"{plan.run.run_id}/distillation/{plan.id}"
    tags = {
        RUN_ID_TAG: name,
        STAGE_TAG: "distillation",
        "thickets.distils": plan.run.run_id,
        "mlflow.parentRunId": found.tracking.mlflow_run_id,  # MLflow's list shows it below the search
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "thickets",
    }
    tracking = plan.run.config.tracking
    tracker = Tracker.start(plan.run.home, tracking.experiment, name, tags, uri=tracking.uri)
    where = links(tracker)
    prefect = {"prefect.flow_run_id": where.prefect_flow_run_id, "prefect.flow_run_url": where.prefect_address}
    tracker.log_tags({name: value for name, value in prefect.items() if value})
    tracker.log_config(flatten({"distillation": plan.section.model_dump(mode="json")}))
    tracker.log_text("config.yaml", dump_config(plan.run.config))
    return tracker


def log_rows(tracker: Tracker, plan: DistillPlan, rows: pl.DataFrame) -> None:
    """Link every arm's training data as a data set, by the hash of its content, and keep the file."""
    for name in rows["arm"].unique(maintain_order=True):
        part = rows.filter(rows["arm"] == name)
        sha256 = hashlib.sha256(part.write_ndjson().encode()).hexdigest()
        tracker.log_dataset(f"{plan.run.config.single_problem.title}/distillation-{name}", sha256, part, "training")
    tracker.log_file(plan.folder.data)


def watch_training(tracker: Tracker, arm: str) -> Callable[[ValidationPoint, float | None], None]:
    """Return a callback that logs every evaluation on the validation split to the terminal and MLflow."""

    def on_point(point: ValidationPoint, loss: float | None) -> None:
        said = "" if loss is None else f", training loss {loss:.3f}"
        log.info(f"  {arm}: step {point.step}, validation {point.n_correct}/{point.n}{said}")
        metrics = [MetricPoint(f"{arm}.validation.accuracy", point.n_correct / point.n, point.step)]
        if loss is not None:
            metrics.append(MetricPoint(f"{arm}.training.loss", loss, point.step))
        tracker.log_metrics(metrics)

    return on_point


@task("log-student", retries=2)
def log_student_model(tracker: Tracker, plan: DistillPlan, recipe: Recipe) -> None:
    """Log the student as a model that `thickets promote --student` finds, with its answers to the test split."""
    run, folder, test = plan.run, plan.folder, plan.run.splits.test
    with ScoreStore.open(folder.work(STUDENT) / "scores.duckdb", f"{plan.id}-{STUDENT}") as store:
        answers = KeptAnswers(store.answers("test", [BASE_ID]), test.sha256, dict(run.problem.identity()))
    question = test.examples[0].question
    log_student(tracker, folder.model(STUDENT), run.run_id, recipe, run.base.name, answers, question)


@task("log-distillation", retries=2)
def log_distillation(tracker: Tracker, plan: DistillPlan, found: DistillSummary) -> None:
    """Log what was found to MLflow and Prefect."""
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
    tracker.log_metrics(metrics)
    tracker.log_file(plan.folder.summary)
    tracker.log_file(plan.run.home.run(plan.run.run_id).report)
    text = distill_markdown(found)
    tracker.log_tags({"mlflow.note.content": text})
    show_markdown(text, "distillation", "The student on the test split")


def distill_markdown(found: DistillSummary) -> str:
    """Return the table and findings of a distillation as Markdown, for MLflow and Prefect."""
    rows = distill_rows(found)
    heading = accuracy_heading((row.accuracy for row in rows), "test")
    table = markdown_table(
        [f"{found.run_id}/{found.distillation_id}", heading, OVER_BASE_HEADING, "tokens"],
        [
            [row.label, scored(row.accuracy), points(row.over_base) if row.over_base else "", f"{row.n_tokens:,}"]
            for row in rows
        ],
    )
    first, *others = distill_findings(found)
    return f"""{first}

{table}

{chr(10).join(f"- {line}" for line in others)}

Folder: `{found.folder}`
"""
