"""One MLflow run of ours: starting it, writing into it, and ending it.

Every call names the run by its id: MLflow's "active run" belongs to a thread, and threads share a `Tracker`.
"""

from __future__ import annotations

import json
import logging
import shlex
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import polars as pl

from thickets.storage.home import Home
from thickets.storage.tracking.heartbeat import Heartbeat, is_held_here, is_left, sign_of_life
from thickets.storage.tracking.store import (
    FLOW_RUN_TAG,
    RUN_ID_TAG,
    STAGE_TAG,
    check_reachable,
    is_server,
    mlflow_client,
    tracking_errors,
    writable_uri,
)

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]

# The most that one request may hold (mlflow.utils.validation).
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_PARAM_LENGTH = 6000
_DIGEST_LENGTH = 32  # MLflow allows 36
_PARENT_TAG = "mlflow.parentRunId"
_INHERITED_TAGS = (RUN_ID_TAG, "mlflow.user", "mlflow.source.name", FLOW_RUN_TAG, "prefect.flow_run_url")


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of a metric.

    Attributes:
        name: Letters, digits, and ``_ - . / :`` and space.
        value: Any number; integers beyond 2^53 lose digits.
        step: What the value is plotted over.
    """

    name: str
    value: float
    step: int = 0


class Tracker:
    """Writes to one MLflow run; threads may share it.

    Within it as a context manager the run gives signs of life (`thickets.storage.tracking.heartbeat`). Leaving it ends
    the run: FINISHED, FAILED after an exception, KILLED after an interrupt. A store that does not take that is told of
    in the log: it must not end what was tracked, nor hide why that ended.

    Attributes:
        uri: Tracking URI.
        experiment_id: MLflow's id of the experiment.
        run_id: MLflow's id of the run (not ours, which is the tag ``thickets.run_id``).
        measured_ms: The time of all metrics, in milliseconds since 1970, so that logging them again adds nothing;
            None is the time of the call.
    """

    def __init__(
        self, client: Any, uri: str, experiment_id: str, run_id: str, *, measured_ms: int | None = None
    ) -> None:
        self.uri = uri
        self.experiment_id = experiment_id
        self.run_id = run_id
        self.measured_ms = measured_ms
        self._client = client
        self._heartbeat: Heartbeat | None = None

    @classmethod
    def start(
        cls,
        home: Home,
        experiment: str,
        run_name: str,
        tags: Mapping[str, str],
        *,
        uri: str | None = None,
    ) -> Self:
        """Open a new MLflow run, and mark those of the experiment that a killed process left RUNNING.

        The caller holds the run in its home, so that in the home's own store nobody else carries out a run of the same
        ``thickets.run_id``. In a store that is shared, another machine may: what gives signs of life is left alone.

        Args:
            home: Where the default store is.
            experiment: Created if absent.
            run_name: Shown in MLflow's list of runs.
            tags: Must include ``thickets.run_id``.
            uri: ``tracking.uri``: a server (``http://...``) or a database; None is ``$MLFLOW_TRACKING_URI``, or else
                ``sqlite:///<home>/mlflow.db`` with the artifacts in ``<home>/mlartifacts``.

        Raises:
            InputError: MLflow cannot write to ``uri``.
            RunError: The store cannot be reached or used.
        """
        uri = writable_uri(home, uri)
        # Beside a bare database MLflow would put artifacts into the folder that the process happens to run in.
        artifacts = None if is_server(uri) else home.mlflow_artifacts.resolve().as_uri()
        with tracking_errors(uri):
            client = mlflow_client(uri)
            experiment_id = _experiment_id(client, experiment, artifacts)
            is_own = uri == f"sqlite:///{home.mlflow_db.resolve()}"
            for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
                is_same = run.data.tags.get(RUN_ID_TAG) == tags[RUN_ID_TAG]
                if is_left(run) or (is_same and (is_own or is_held_here(run))):
                    client.set_terminated(run.info.run_id, "KILLED")
            run = client.create_run(experiment_id, tags={**sign_of_life(), **tags}, run_name=run_name)
        return cls(client, uri, experiment_id, run.info.run_id)

    @classmethod
    def reopen(cls, uri: str, experiment_id: str, run_id: str) -> Self:
        """Take up a run that was started before. A server is not asked, so it may be away."""
        with tracking_errors(uri):
            return cls(mlflow_client(uri), uri, experiment_id, run_id)

    @classmethod
    def find(cls, uri: str, run_id: str, ours: str) -> Self | None:
        """Find a run that was started before; None if the store does not have it.

        Args:
            uri: Tracking URI.
            run_id: MLflow's id.
            ours: Our id, which the run has to carry as the tag ``thickets.run_id``.

        Raises:
            RunError: The store cannot be used.
        """
        from mlflow.exceptions import MlflowException

        with tracking_errors(uri):
            client = mlflow_client(uri)
            try:
                run = client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
        if run.info.lifecycle_stage != "active" or run.data.tags.get(RUN_ID_TAG) != ours:
            return None
        return cls(client, uri, run.info.experiment_id, run_id)

    def at(self, measured_ms: int | None) -> Tracker:
        """Return a tracker of the same run whose metrics, and whose nested runs' metrics, have one time."""
        return Tracker(self._client, self.uri, self.experiment_id, self.run_id, measured_ms=measured_ms)

    @property
    def client(self) -> Any:
        """MLflow's client, for calls that have no method here; its errors are not translated."""
        return self._client

    def child(self, stage: str, note: str = "") -> Tracker:
        """Open the nested run of one stage of this run, or continue the one that an earlier attempt opened.

        Use it as a context manager, like its parent.

        Args:
            stage: For instance "selection"; the nested run's name and its tag ``thickets.stage``.
            note: The description on its page.
        """
        with tracking_errors(self.uri):
            mine = f"tags.`{_PARENT_TAG}` = '{self.run_id}' and tags.`{STAGE_TAG}` = '{stage}'"
            found = self._client.search_runs([self.experiment_id], mine)
            if found:
                return self._nested(found[0].info.run_id)
            tags = {
                **{k: v for k, v in self._client.get_run(self.run_id).data.tags.items() if k in _INHERITED_TAGS},
                **sign_of_life(),
                _PARENT_TAG: self.run_id,
                STAGE_TAG: stage,
                "mlflow.note.content": note,
            }
            run = self._client.create_run(self.experiment_id, tags=tags, run_name=stage)
        return self._nested(run.info.run_id)

    def log_config(self, params: Mapping[str, Any]) -> None:
        """Log flat parameters as strings; one longer than MLflow's 6000 characters is cut and ends in "...".

        Raises:
            RunError: A parameter was logged with another value before (MLflow's parameters never change).
        """
        from mlflow.entities import Param

        rows = [Param(name, _shortened(str(value))) for name, value in params.items()]
        with tracking_errors(self.uri):
            for start in range(0, len(rows), _PARAMS_PER_BATCH):
                self._client.log_batch(self.run_id, params=rows[start : start + _PARAMS_PER_BATCH])

    def log_new_config(self, params: Mapping[str, Any]) -> None:
        """Log flat parameters as `log_config` does, but leave alone what an earlier session has logged of them."""
        with tracking_errors(self.uri):
            known = self._client.get_run(self.run_id).data.params
        self.log_config({name: value for name, value in params.items() if name not in known})

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags; unlike parameters they may change."""
        from mlflow.entities import RunTag

        with tracking_errors(self.uri):
            self._client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def adopt(self, run_id: str) -> None:
        """Make another run of the same experiment a nested run of this one, by the tag that MLflow's pages read."""
        with tracking_errors(self.uri):
            self._client.set_tag(run_id, _PARENT_TAG, self.run_id)

    def log_dataset(self, name: str, sha256: str, frame: pl.DataFrame, context: str) -> None:
        """Link a split as an input of the run, under our own content hash.

        MLflow's own digest of a frame ignores the order and the types of its rows. A digest may have 36 characters, so
        ours is the first 32 of the hash, and the tag ``sha256`` is the whole hash.

        Args:
            name: For instance "gsm8k/selection".
            sha256: 64 hexadecimal digits.
            frame: The rows; only their number and columns are logged.
            context: Purpose in the run, for instance "selection".
        """
        with tracking_errors(self.uri):
            self._client.log_inputs(self.run_id, datasets=[dataset_input(name, sha256, frame, context)])

    def log_metrics(
        self,
        metrics: Mapping[str, float] | Iterable[MetricPoint],
        step: int = 0,
        *,
        model_id: str | None = None,
        dataset: tuple[str, str] | None = None,
    ) -> None:
        """Log metrics in batches of 1000: one at a time costs 13 ms each, and 100 ms and more through a server.

        Args:
            metrics: Values by name, or points that carry their own step.
            step: Step of values given by name.
            model_id: The logged model that the values are about.
            dataset: Name and SHA-256 of the data they were measured on; `log_dataset` must have logged it.
        """
        from mlflow.entities import Metric

        if isinstance(metrics, Mapping):
            metrics = [MetricPoint(name, value, step) for name, value in metrics.items()]
        now_ms = int(time.time() * 1000) if self.measured_ms is None else self.measured_ms
        links = {"model_id": model_id, "run_id": self.run_id}
        if dataset is not None:
            links |= {"dataset_name": dataset[0], "dataset_digest": dataset_digest(dataset[1])}
        rows = [Metric(point.name, float(point.value), now_ms, point.step, **links) for point in metrics]
        with tracking_errors(self.uri):
            for start in range(0, len(rows), _METRICS_PER_BATCH):
                self._client.log_batch(self.run_id, metrics=rows[start : start + _METRICS_PER_BATCH])

    def steps(self, metric: str) -> set[int]:
        """Return the steps at which a metric has been logged."""
        with tracking_errors(self.uri):
            return {point.step for point in self._client.get_metric_history(self.run_id, metric)}

    def log_table(self, name: str, frame: pl.DataFrame) -> None:
        """Log a frame as ``tables/<name>.parquet``, and as CSV for MLflow's pages unless a column is nested."""
        nested = any(dtype.is_nested() for dtype in frame.dtypes)
        self._log_written(f"tables/{name}.parquet", frame.write_parquet)
        if not nested:
            self._log_written(f"tables/{name}.csv", frame.write_csv)

    def log_json(self, name: str, value: Any) -> None:
        """Log a JSON value as the artifact ``name`` (a path ending in .json)."""
        with tracking_errors(self.uri):
            self._client.log_dict(self.run_id, value, name)

    def log_text(self, name: str, text: str) -> None:
        """Log a text as the artifact ``name`` (a path; MLflow's pages show .md, .txt, .yaml and .html)."""
        with tracking_errors(self.uri):
            self._client.log_text(self.run_id, text, name)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Log a file under its own name, in an artifact folder if one is given."""
        with tracking_errors(self.uri):
            self._client.log_artifact(self.run_id, str(path), folder)

    def finish(self, status: Status = "FINISHED") -> None:
        """End the MLflow run."""
        with tracking_errors(self.uri):
            self._client.set_terminated(self.run_id, status)

    def url(self) -> str | None:
        """Return the run's page on the tracking server, or None where no server runs."""
        return f"{self.uri.rstrip('/')}/{self._page()}" if urlsplit(self.uri).scheme in ("http", "https") else None

    def describe(self) -> str:
        """Return the address of the run's page, or the command that serves the store and the address it then has."""
        if url := self.url():
            return url
        return f"mlflow ui --backend-store-uri {shlex.quote(self.uri)}\nthen open http://127.0.0.1:5000/{self._page()}"

    def __enter__(self) -> Self:
        self._heartbeat = Heartbeat(self._client, self.uri, self.run_id)
        self._heartbeat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status: Status = "FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED"
        if self._heartbeat is not None:
            self._heartbeat.stop()
        try:
            check_reachable(self.uri)
            self.finish(status)
        except Exception as failure:  # a full disk or a lost server
            log.warning("MLflow run %s may still be marked as running: %s", self.run_id, failure)

    def _nested(self, run_id: str) -> Tracker:
        return Tracker(self._client, self.uri, self.experiment_id, run_id, measured_ms=self.measured_ms)

    def _page(self) -> str:
        return f"#/experiments/{self.experiment_id}/runs/{self.run_id}"

    def _log_written(self, artifact: str, write: Callable[[Path], Any]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / Path(artifact).name
            write(path)
            self.log_file(path, str(Path(artifact).parent))


def _experiment_id(client: Any, name: str, artifacts: str | None) -> str:
    """Return the id of an experiment, which is created if absent: by this process, or by another at the same time."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifacts))
        except MlflowException:
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    return str(found.experiment_id)


def dataset_input(name: str, sha256: str, frame: pl.DataFrame, context: str) -> Any:
    """Return an ``mlflow.entities.DatasetInput`` for a split.

    Args:
        name: Shown as the data set's name.
        sha256: Our hash of the split's content, 64 hexadecimal digits.
        frame: The rows; only their number and columns are used.
        context: What the split is for.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [
        {"name": column, "type": _mlflow_type(dtype), "required": True} for column, dtype in frame.schema.items()
    ]
    dataset = Dataset(
        name=name,
        digest=dataset_digest(sha256),
        source_type="code",
        source=json.dumps({"tags": {"mlflow.source.name": name, "sha256": sha256}}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": frame.height, "num_elements": frame.height * frame.width}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context), InputTag("sha256", sha256)])


def dataset_digest(sha256: str) -> str:
    """Cut a content hash to what MLflow keeps as a data set's digest."""
    return sha256[:_DIGEST_LENGTH]


def _shortened(value: str) -> str:
    return value if len(value) <= _PARAM_LENGTH else value[: _PARAM_LENGTH - 3] + "..."


def _mlflow_type(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "long"
    if dtype.is_float():
        return "double"
    return "boolean" if dtype == pl.Boolean else "string"
