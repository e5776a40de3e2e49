"""Logs a run in MLflow and Prefect, and links each to the other."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping, Sequence

import polars as pl
from prefect.utilities.urls import url_for

from thickets.flows.config.file import flatten
from thickets.flows.config.run import RunConfig
from thickets.flows.plan import RunPlan
from thickets.flows.publish.finished import FinishedRun
from thickets.flows.publish.record import TrackingRecord
from thickets.flows.report import Plot, plots
from thickets.flows.results.cost import cost_metrics
from thickets.flows.results.looking import how_to_look
from thickets.flows.results.rows import GET_HEADING, USE_HEADING, result_rows
from thickets.flows.results.sentences import findings
from thickets.flows.results.summary import RunSummary, TrackingLinks
from thickets.flows.runtime.environment import log
from thickets.flows.runtime.liveness import current_flow_run_id
from thickets.flows.runtime.mlflow_server import tracked
from thickets.flows.runtime.prefect_server import lasting_api_url, show_markdown
from thickets.storage.errors import InputError, RunError
from thickets.storage.home import RunFolder
from thickets.storage.scores.queries import ScoreQueries
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import FLOW_RUN_TAG, RUN_ID_TAG, check_reachable, given_uri
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.figures import PRINT
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.text import (
    OVER_BASE_HEADING,
    accuracy_heading,
    markdown_table,
    points,
    score_metrics,
    scored,
)
from thickets.tasks.results.thicket import ThicketDescription
from thickets.tasks.task import task

# The leaderboard's head is enough to browse; all of it is in the run's DuckDB file.
_LEADERBOARD_ROWS = 1000


def start_tracking(plan: RunPlan, folder: RunFolder, book: ScoreBook, engine: Mapping[str, str]) -> Tracker:
    """Open the MLflow run and log what is known before anything is scored: configuration, identity, data sets.

    A store that cannot be reached is an error, before anything is paid for. Where an earlier session of the run has
    reached it, it is only away: the run goes on as that MLflow run, and what is missing there is logged in the end.

    Args:
        plan: The run.
        folder: Its folder.
        book: Its score book.
        engine: Tags that say what the engines are.

    Raises:
        InputError: MLflow cannot write to such an address.
        RunError: The store cannot be reached or used, and never was for this run.
    """
    tags = _tags(plan, engine)
    try:
        record = _open_run(plan, tags)
    except RunError as error:
        record = _earlier(plan, folder, error)
    record.save(folder)
    tracker = record.tracker
    with tracked("the configuration"):
        check_reachable(record.uri)
        log_beginning(tracker, plan.config, folder, record, lambda split: _rows(book, split))
        record.having(has_beginning=True).save(folder)
    show_markdown(f"```\n{tracker.describe()}\n```", "mlflow-run", "The run in MLflow")
    show_markdown(how_to_look(folder), "answers", "Questions and replies, also while the run goes on")
    return tracker


@task("start-tracking", retries=2)
def _open_run(plan: RunPlan, tags: dict[str, str]) -> TrackingRecord:
    tracking = plan.config.tracking
    tracker = Tracker.start(plan.home, tracking.experiment, plan.run_id, tags, uri=tracking.uri)
    return TrackingRecord.of(plan, tracker, tags)


def _earlier(plan: RunPlan, folder: RunFolder, error: RunError) -> TrackingRecord:
    """Return the record of an earlier session with the same store, or raise the error."""
    try:
        record = TrackingRecord.load(folder)
    except InputError:
        raise error from None
    if record.uri != given_uri(plan.home, plan.config.tracking.uri):
        raise error
    log.warning(f"MLflow is away; the run goes on, for an earlier session of it was logged there: {error}")
    return record


def _tags(plan: RunPlan, engine: Mapping[str, str]) -> dict[str, str]:
    flow_run_id = current_flow_run_id()
    tags = {
        **engine,
        RUN_ID_TAG: plan.run_id,
        "thickets.fingerprint": plan.fingerprint,
        "thickets.judgement": plan.verdicts,
        "thickets.base_sha256": plan.base.sha256,
        "mlflow.user": getpass.getuser(),
        "mlflow.source.name": "thickets",
        FLOW_RUN_TAG: flow_run_id or "",
        "prefect.flow_run_url": _flow_run_url(flow_run_id) or "",
    }
    return {name: value for name, value in tags.items() if value}


def _rows(book: ScoreBook, split: str) -> pl.DataFrame:
    return book.examples.filter(pl.col("split") == split).select("example_id", "question", "answer")


def log_beginning(
    tracker: Tracker,
    config: RunConfig,
    folder: RunFolder,
    record: TrackingRecord,
    rows: Callable[[str], pl.DataFrame],
) -> None:
    """Log configuration, identity and data sets; parameters that MLflow has already stay as they are.

    Args:
        tracker: The MLflow run.
        config: The run's.
        folder: The run's.
        record: What MLflow is told besides.
        rows: Returns the questions of a split.
    """
    tracker.log_new_config(flatten(config.model_dump(mode="json")))
    tracker.log_tags({"mlflow.note.content": how_to_look(folder)})  # until there is a result
    for path in (folder.config, folder.identity, folder.judgement):
        tracker.log_file(path)
    for name, sha256 in record.splits.items():
        tracker.log_dataset(f"{config.single_problem.title}/{name}", sha256, rows(name), name)


def draw_figures(summary: RunSummary, scores: ScoreQueries, folder: RunFolder, own: Sequence[Plot] = ()) -> None:
    """Draw the figures, the problem's own too, into the run's folder."""
    for plot in (*plots(summary, scores.common_scores("selection")), *own):
        plot.draw(PRINT).savefig(folder.figures / f"{plot.name}.png")


def log_results(tracker: Tracker, run: FinishedRun, scores: ScoreQueries) -> None:
    """Log metrics, the score database's summary tables, the folder's figures, report and ensemble manifest."""
    summary, folder = run.summary, run.folder
    tracker.log_metrics([*_metrics(summary), *_curve_metrics(summary)])
    tables = {
        "leaderboard": scores.leaderboard("selection", limit=_LEADERBOARD_ROWS),
        "sigma_statistics": scores.sigma_statistics(),
        "example_difficulty": scores.query(
            "SELECT * EXCLUDE (run_id) FROM example_difficulty WHERE split = 'selection' ORDER BY position"
        ),
    }
    for name, table in tables.items():
        tracker.log_table(name, table)
    for path in sorted(folder.figures.glob("*.png")):
        tracker.log_file(path, "figures")
    for path in (folder.manifest, folder.summary, folder.report):
        tracker.log_file(path)
    found = summary.evaluation
    tracker.log_tags({"thickets.method": found.method, "thickets.vote": found.vote})
    tracker.log_tags({"mlflow.note.content": result_markdown(summary)})  # the description on the run's page


def links(tracker: Tracker) -> TrackingLinks:
    """Return the ids and addresses of the run in MLflow and Prefect."""
    flow_run_id = current_flow_run_id()
    return TrackingLinks(
        mlflow_uri=tracker.uri,
        mlflow_run_id=tracker.run_id,
        mlflow_address=tracker.describe(),
        prefect_flow_run_id=flow_run_id,
        prefect_address=_flow_run_url(flow_run_id),
    )


def _flow_run_url(flow_run_id: str | None) -> str | None:
    # A temporary server is gone when the run ends, so its address would lead nowhere.
    if flow_run_id is None or lasting_api_url() is None:
        return None
    return url_for("flow-run", obj_id=flow_run_id)


def _metrics(summary: RunSummary) -> list[MetricPoint]:
    found, graded = summary.evaluation, summary.is_graded
    metrics: dict[str, float] = {
        **_figures("selection.base.", summary.base_selection, graded),
        "k": found.k,
        "tokens": sum(summary.n_tokens.values()),
        "wall_s": summary.wall_s,
        **{f"engine.{name}": value for name, value in summary.engine.figures.items()},
    }
    for name in ("base", "best_single", "ensemble"):
        metrics |= score_metrics(f"test.{name}.", getattr(found, name), is_graded=graded)
    for name in ("ensemble_minus_base", "best_single_minus_base", "ensemble_minus_best_single"):
        value = getattr(found, name)
        metrics[f"test.{name}"] = value.value
        metrics[f"test.{name}_low"], metrics[f"test.{name}_high"] = value.low, value.high
        metrics[f"test.{name}_p"] = value.p_value
    metrics |= _thicket_metrics(summary.thicket, graded)
    if summary.pilot:
        for row in summary.pilot.sigmas:
            mine = f"pilot.sigma.{row.sigma:g}"
            mean = "mean_accuracy" if row.points is None else "mean_score"
            metrics |= {f"{mine}.{mean}": summary.pilot.accuracy(row), f"{mine}.spread": row.spread}
            metrics[f"{mine}.share"] = row.share
    if summary.race:
        metrics |= {"racing.answers": summary.race.n_answers, "racing.saved": summary.race.saved}
    if summary.limit:
        metrics["limit.max_tokens"] = summary.limit.max_tokens
    metrics |= {f"test.{name}.tokens": value for name, value in found.n_tokens.model_dump().items()}
    for control in found.controls:
        gap = control.ensemble_minus
        mine, against = f"test.{control.name}", f"test.ensemble_minus_{control.name}"
        metrics |= score_metrics(f"{mine}.", control.accuracy, is_graded=graded)
        metrics[f"{mine}.tokens"] = control.n_tokens
        metrics |= {against: gap.value, f"{against}_low": gap.low, f"{against}_high": gap.high}
    if cost := summary.full_cost:
        metrics |= {"cost.search.tokens": cost.search.n_tokens, "cost.search.flops": cost.search.flops}
        metrics |= cost_metrics(cost.rows)
    return [MetricPoint(name, value) for name, value in metrics.items()]


def _thicket_metrics(thicket: ThicketDescription, graded: bool) -> dict[str, float]:
    best, correlation, agreement = thicket.best, thicket.correlation, thicket.agreement
    metrics = {
        **_figures("selection.best.", best.observed, graded),
        "selection.best.by_luck": best.by_luck,
        "selection.best.corrected": best.corrected,
        "selection.best.p": best.p_value,
        **_figures("test.oracle.", thicket.oracle, graded),
        **{f"test.gains.{name}": count for name, count in thicket.gains.model_dump().items()},
    }
    if correlation.value is not None:
        metrics["validation.rank_correlation"] = correlation.value
    if agreement.mean is not None:
        metrics["test.agreement"] = agreement.mean
    return metrics


def _curve_metrics(summary: RunSummary) -> list[MetricPoint]:
    """Return the curves as metrics over K, for MLflow's own charts."""
    curves = {"validation": summary.validation_curve, "test": summary.evaluation.test_curve}
    return [
        MetricPoint(f"{split}.{p.method}.{p.rule}.{name}_by_k", value, p.k)
        for split, curve in curves.items()
        for p in curve
        for name, value in _figures("", p.accuracy, summary.is_graded).items()
    ]


def _figures(prefix: str, found: Accuracy, graded: bool) -> dict[str, float]:
    """Return the metrics of an accuracy without its interval."""
    metrics = score_metrics(prefix, found, is_graded=graded)
    return {name: value for name, value in metrics.items() if not name.endswith(("_low", "_high"))}


def result_markdown(summary: RunSummary) -> str:
    """Return the result as Markdown, for MLflow and Prefect."""
    found = summary.evaluation
    address = summary.tracking.mlflow_address if summary.tracking else ""
    rows = result_rows(found, summary.full_cost)
    counted = summary.cost is not None
    table = markdown_table(
        [
            summary.run_id,
            accuracy_heading((row.accuracy for row in rows), "test"),
            OVER_BASE_HEADING,
            *((GET_HEADING, USE_HEADING) if counted else ("tokens",)),
        ],
        [
            [
                row.label,
                scored(row.accuracy),
                points(row.over_base) if row.over_base else "",
                *((row.to_get, row.to_use) if counted else (f"{row.n_tokens:,}",)),
            ]
            for row in rows
        ],
    )
    first, *others = findings(summary)
    return f"""{first}

{table}

{chr(10).join(f"- {line}" for line in others)}

{how_to_look(RunFolder(summary.folder))}

Report: `{RunFolder(summary.folder).report}`, also among the artifacts of the MLflow run

```
{address}
```
"""
