"""Logs a group of runs in MLflow: a run of its own, with those of the group below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thickets.flows.config.file import dump_config, flatten
from thickets.flows.config.run import RunConfig
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.mlflow_server import tracked
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.task import task


@dataclass(frozen=True, slots=True)
class GroupLog:
    """What MLflow gets of a group.

    Attributes:
        group_id: Of the group.
        note: What came of it, as Markdown.
        root: The group's folder.
        files: Paths below it, as text.
        metrics: By name, or as points of curves.
        models: Its models, logged in place of the configuration's own; empty where that is the only one.
    """

    group_id: str
    note: str
    root: Path
    files: tuple[str, ...]
    metrics: Mapping[str, float] | Sequence[MetricPoint]
    models: tuple[str, ...] = ()


def log_group(what: str, config: RunConfig, group: GroupLog, summaries: Sequence[RunSummary]) -> None:
    """Log a group if MLflow takes it; in a flow.

    Args:
        what: What MLflow would not get, for the log.
        config: Of the group.
        group: What came of it.
        summaries: Of its runs.
    """
    with tracked(what):
        _log_group(config, group, [summary.tracking.mlflow_run_id for summary in summaries])


@task("log-group", retries=2)
def _log_group(config: RunConfig, group: GroupLog, mlflow_run_ids: Iterable[str]) -> None:
    home, tracking = Home(config.storage.home), config.tracking
    # What a configuration of one problem or of several leaves empty is no parameter.
    left_out = {name for name in ("problem", "problems") if getattr(config, name) is None}
    parameters = flatten(config.model_dump(mode="json", exclude=left_out))
    if group.models:
        parameters |= {"model": ", ".join(group.models)}
    tags = {RUN_ID_TAG: group.group_id, "mlflow.source.name": "thickets", "mlflow.note.content": group.note}
    with Tracker.start(home, tracking.experiment, group.group_id, tags, uri=tracking.uri) as tracker:
        tracker.log_config(parameters)
        tracker.log_text("config.yaml", dump_config(config))
        for name in group.files:
            tracker.log_file(group.root / name, name.rpartition("/")[0] or None)
        tracker.log_metrics(group.metrics)
        for run_id in mlflow_run_ids:
            tracker.adopt(run_id)
