"""The MLflow run of a rival: a child of the search's run, with its way on the validation split, cost and verdict."""

from __future__ import annotations

import polars as pl

from thickets.flows.models.logged import TEST_ANSWERS, log_checkpoint
from thickets.flows.publish.below import links_below, open_below, unless_away
from thickets.flows.publish.tracking import links
from thickets.flows.results.rivals import RivalSummary
from thickets.flows.results.rivals_text import rival_markdown
from thickets.flows.results.summary import TrackingLinks
from thickets.flows.rivals.methods import OnPoint, StepValues
from thickets.flows.rivals.plan import RivalPlan
from thickets.flows.rivals.verdict import kept_answers
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.mlflow_server import tracked
from thickets.flows.runtime.prefect_server import show_markdown
from thickets.storage.files import write_text_atomically
from thickets.storage.models.manifest import EnsembleManifest
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import STAGE_TAG, check_reachable
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.rivals import RivalPoint
from thickets.tasks.results.text import percent, score_metrics
from thickets.tasks.task import task


def start_rival_tracking(plan: RivalPlan) -> Tracker | None:
    """Open the MLflow run and log what is known before anything is computed.

    Returns:
        The run; None if the store is away that the search has reached.

    Raises:
        RunError: The store cannot be reached, and is not that of the search.
    """
    return unless_away(plan.run, plan.found, lambda: _open_run(plan), "rival")


@task("start-rival-tracking", retries=2)
def _open_run(plan: RivalPlan) -> Tracker:
    name = f"{plan.run.run_id}/rivals/{plan.id}"
    tags = {STAGE_TAG: "rival", "thickets.rivals": plan.run.run_id}
    return open_below(plan.run, plan.found, name, tags, {f"rivals.{plan.method}": plan.section.model_dump(mode="json")})


def rival_links(plan: RivalPlan, tracker: Tracker | None) -> TrackingLinks:
    """Return where the rival is to be found; without a run in MLflow, the store that it will be logged in."""
    return links_below(plan.run, plan.found, tracker)


def watch_rival(tracker: Tracker | None, plan: RivalPlan) -> OnPoint:
    """Return a callback that logs every look at the validation split to the terminal and MLflow.

    MLflow is not asked again once it has not taken one: the end of the rival logs what is missing.
    """
    taking = tracker

    def on_point(point: RivalPoint | StepValues) -> None:
        nonlocal taking
        if isinstance(point, RivalPoint):
            spent = plan.budget.spent(point.cost) / plan.budget.amount
            log.info(
                f"  step {point.step}: validation {percent(point.validation)}, {percent(spent, 0)} of the budget spent"
            )
        if (store := taking) is not None:
            taking = None
            with tracked("the rival as it goes"):
                check_reachable(store.uri)
                store.log_metrics(_of_point(point))
                taking = store

    return on_point


def log_rival(plan: RivalPlan, tracker: Tracker | None, summary: RivalSummary) -> None:
    """Log what was found to MLflow, which may be away, and to Prefect.

    Args:
        plan: The rival.
        tracker: Its MLflow run; None opens one.
        summary: What was found, as it is kept.
    """
    with tracked("the rival"):
        _log_all(plan, tracker, summary)
    if plan.folder.unlogged.exists():
        log.warning("the rival is in its folder; to log it when MLflow is back, run the same command again")
    show_markdown(rival_markdown([summary]), f"rival-{plan.method}", "The rival on the test split")


@task("log-rival", retries=1, retry_delays_s=[10.0])
def _log_all(plan: RivalPlan, tracker: Tracker | None, summary: RivalSummary) -> None:
    if tracker is not None:
        check_reachable(tracker.uri)
        _log_into(tracker, plan, summary)
    else:
        with _open_run.fn(plan) as opened:
            found = summary.model_copy(update={"tracking": links(opened)})
            write_text_atomically(plan.folder.summary, found.model_dump_json(indent=2))
            _log_into(opened, plan, found)
    plan.folder.unlogged.unlink(missing_ok=True)


def _log_into(tracker: Tracker, plan: RivalPlan, found: RivalSummary) -> None:
    rival = found.rival
    known = tracker.steps("validation.accuracy")
    tracker.log_metrics([each for point in rival.points if point.step not in known for each in _of_point(point)])
    graded = found.evaluation.is_graded or rival.test.is_graded
    metrics: dict[str, float] = {
        **score_metrics("test.", rival.test, is_graded=graded),
        "test.tokens": rival.n_tokens,
        "chosen_step": rival.chosen_step,
        "wall_s": found.wall_s,
        **_of_cost("cost.", rival.cost_to_get),
        **_of_cost("search.cost.", found.cost.search),
    }
    for other in ("base", "best_single", "ensemble", "merge"):
        if (gap := getattr(rival, f"minus_{other}")) is not None:
            mine = f"test.minus_{other}"
            metrics |= {mine: gap.value, f"{mine}_low": gap.low, f"{mine}_high": gap.high}
    tracker.log_metrics(metrics)
    _log_model(tracker, plan, found)
    tracker.log_file(plan.folder.summary)
    tracker.log_file(plan.run.home.run(plan.run.run_id).report)
    tracker.log_tags({"mlflow.note.content": rival_markdown([found])})


def _log_model(tracker: Tracker, plan: RivalPlan, found: RivalSummary) -> None:
    """Log the model as one that `thickets promote --rival` finds, with its answers to the test split."""
    if found.rival.chosen_step == 0:  # nothing was better than the base
        return
    run = plan.run
    answers = kept_answers(plan, pl.read_parquet(plan.folder.root / TEST_ANSWERS))
    recipe = EnsembleManifest.load(run.home.run(run.run_id).manifest).recipe
    question = run.splits.test.examples[0].question
    log_checkpoint(tracker, plan.method, plan.folder.model, run.run_id, recipe, run.base.name, answers, question)


def _of_point(point: RivalPoint | StepValues) -> list[MetricPoint]:
    if isinstance(point, StepValues):
        return [MetricPoint(name, value, point.step) for name, value in point.values.items()]
    values = {"validation.accuracy": point.validation.value, **_of_cost("spent.", point.cost)}
    return [MetricPoint(name, value, point.step) for name, value in values.items()]


def _of_cost(prefix: str, cost: Cost) -> dict[str, float]:
    return {
        f"{prefix}tokens": float(cost.n_tokens),
        f"{prefix}tokens_generated": float(cost.n_generated),
        f"{prefix}flops": cost.flops,
        f"{prefix}engine_s": cost.engine_s,
    }
