"""The MLflow run of a group: several runs below one, with what was made of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from thickets.flows.config.file import dump_config, flatten
from thickets.flows.config.run import RunConfig
from thickets.flows.results.groups import GroupFolder
from thickets.flows.results.summary import RunSummary
from thickets.flows.runtime.mlflow_server import tracked
from thickets.storage.home import Home
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG
from thickets.storage.tracking.writer import MetricPoint
from thickets.tasks.task import task


def log_group(
    what: str,
    config: RunConfig,
    folder: GroupFolder,
    note: str,
    files: Sequence[Path],
    metrics: Mapping[str, float] | Sequence[MetricPoint],
    summaries: Sequence[RunSummary],
) -> None:
    """Log a group to MLflow, with its runs below it; go on if MLflow does not take it.

    Args:
        what: What MLflow would then not get.
        config: What the group was started with.
        folder: The group's.
        note: What was found, as Markdown.
        files: In that folder; those in a folder of it are in one of the same name there.
        metrics: By name, or as points of a curve.
        summaries: Of the group's runs.
    """
    with tracked(what):
        _log(config, folder, note, files, metrics, [each.tracking.mlflow_run_id for each in summaries])


@task("log-group", retries=2)
def _log(
    config: RunConfig,
    folder: GroupFolder,
    note: str,
    files: Sequence[Path],
    metrics: Mapping[str, float] | Sequence[MetricPoint],
    mlflow_run_ids: Sequence[str],
) -> None:
    home, tracking = Home(config.storage.home), config.tracking
    tags = {RUN_ID_TAG: folder.group_id, "mlflow.source.name": "thickets", "mlflow.note.content": note}
    with Tracker.start(home, tracking.experiment, folder.group_id, tags, uri=tracking.uri) as tracker:
        # Of several problems or one, the other field is empty.
        unused = {"problem" if config.problem is None else "problems"}
        tracker.log_config(flatten(config.model_dump(mode="json", exclude=unused)))
        tracker.log_text("config.yaml", dump_config(config))
        for path in files:
            inside = path.relative_to(folder.root).parent.as_posix()
            tracker.log_file(path, None if inside == "." else inside)
        tracker.log_metrics(metrics)
        for run_id in mlflow_run_ids:
            tracker.adopt(run_id)
