"""One MLflow run of ours, from its start to its end; what is written into it meanwhile is in `writer`.

Every call names the run by its id: MLflow's "active run" belongs to a thread, and threads share a `Tracker`.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

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
from thickets.storage.tracking.writer import RunWriter

log = logging.getLogger(__name__)

Status = Literal["FINISHED", "FAILED", "KILLED"]

_PARENT_TAG = "mlflow.parentRunId"
_INHERITED_TAGS = (RUN_ID_TAG, "mlflow.user", "mlflow.source.name", FLOW_RUN_TAG, "prefect.flow_run_url")


class Tracker(RunWriter):
    """An MLflow run that is going on; threads may share it.

    Within it as a context manager the run gives signs of life (`thickets.storage.tracking.heartbeat`). Leaving it ends
    the run: FINISHED, FAILED after an exception, KILLED after an interrupt. A store that does not take that is told of
    in the log: it must not end what was tracked, nor hide why that ended.
    """

    _heartbeat: Heartbeat | None = None

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

    def adopt(self, run_id: str) -> None:
        """Make another run of the same experiment a nested run of this one, by the tag that MLflow's pages read."""
        with tracking_errors(self.uri):
            self._client.set_tag(run_id, _PARENT_TAG, self.run_id)

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
