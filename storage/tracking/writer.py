"""Writes into an MLflow run: parameters, tags, metrics, data sets and files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from thickets.storage.tracking.datasets import dataset_digest, dataset_input
from thickets.storage.tracking.store import tracking_errors

# The most that one request may hold (mlflow.utils.validation).
_METRICS_PER_BATCH = 1000
_PARAMS_PER_BATCH = 100
_PARAM_LENGTH = 6000


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


class RunWriter:
    """Writes into one MLflow run, which is named by its id in every call.

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

    def _log_written(self, artifact: str, write: Callable[[Path], Any]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / Path(artifact).name
            write(path)
            self.log_file(path, str(Path(artifact).parent))


def _shortened(value: str) -> str:
    return value if len(value) <= _PARAM_LENGTH else value[: _PARAM_LENGTH - 3] + "..."
