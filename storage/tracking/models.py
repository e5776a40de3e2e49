"""Logged models in MLflow: logging a run's model, finding it again, and linking it to its base.

Only MLflow's client is used: its fluent functions take the tracking address and the active run from the whole process,
which flows share.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, tracking_errors

ModelKind = Literal["ensemble", "student", "merge", "es", "grpo"]

KIND_TAG = "thickets.kind"
BASE_SHA_TAG = "thickets.base_sha256"
CONTENT_TAG = "thickets.content_sha256"
_URI_VARIABLE = "MLFLOW_TRACKING_URI"


class BaseFacts(Protocol):
    """What MLflow is told of a base model; see `thickets.storage.models.base.BaseModelRef`."""

    @property
    def name(self) -> str:
        """As the user named it."""

    @property
    def revision(self) -> str:
        """Its version."""

    @property
    def sha256(self) -> str:
        """Hash of its weights."""

    @property
    def n_parameters(self) -> int:
        """Elements of its weights."""


def log_model(
    tracker: Tracker,
    kind: ModelKind,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    save: Callable[[Path, Any], None],
) -> str:
    """Log a model as the output of a run, once: a second call finds the first one's model.

    Args:
        tracker: The run that made it.
        kind: Kind and name of the model.
        tags: Tags that identify the model; ``thickets.run_id`` is one of them. With another
            ``thickets.content_sha256`` it is another model: a run may come to another merge later.
        params: Parameters shown on the model's page.
        save: Writes the model folder, given its path (absent so far) and the ``mlflow.models.Model`` to fill in.

    Returns:
        MLflow's id of the model, ``m-...``.

    Raises:
        RunError: The store cannot be used.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    client = tracker.client
    with tracking_errors(tracker.uri):
        mine = f"name = '{kind}' AND source_run_id = '{tracker.run_id}'"
        if CONTENT_TAG in tags:
            mine += f" AND {_content(tags[CONTENT_TAG])}"
        if found := find_ready(client, tracker.experiment_id, mine):
            return str(found.model_id)
        model = client.create_logged_model(
            tracker.experiment_id,
            name=kind,
            source_run_id=tracker.run_id,
            tags={KIND_TAG: kind, **tags},
            params=dict(params),
            model_type=kind,
        )
        status = "FAILED"
        try:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "model"
                about = {"model_uuid": model.model_id, "model_id": model.model_id, "run_id": tracker.run_id}
                with _requirements_unchecked():
                    save(folder, Model(artifact_path=model.artifact_location, **about))
                client.log_model_artifacts(model.model_id, str(folder))
            client.log_outputs(tracker.run_id, [LoggedModelOutput(model.model_id, step=0)])
            status = "READY"
        finally:
            client.finalize_logged_model(model.model_id, status)
    return str(model.model_id)


@contextmanager
def _requirements_unchecked() -> Iterator[None]:
    """Keep MLflow from comparing a model's requirements with what is installed, which they were written from.

    It reads the list of files of every installed package for that: a second of processor time.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    checks = getattr(environment, name, None)
    if checks is None:  # another version of MLflow
        yield
        return
    setattr(environment, name, lambda requirements: None)
    try:
        yield
    finally:
        setattr(environment, name, checks)


def find_model(client: Any, experiment_id: str, run_id: str, kind: ModelKind, content: str | None = None) -> Any | None:
    """Return the latest model of a kind that a run of ours logged, as ``mlflow.entities.LoggedModel``, or None.

    Args:
        client: An ``MlflowClient``.
        experiment_id: MLflow's id of the experiment.
        run_id: Our id of the run, the tag ``thickets.run_id``.
        kind: Kind of the model.
        content: Hash of what it is made of; None: any.
    """
    which = f"name = '{kind}' AND tags.`{RUN_ID_TAG}` = '{run_id}'"
    return find_ready(client, experiment_id, which if content is None else f"{which} AND {_content(content)}")


def _content(sha256: str) -> str:
    return f"tags.`{CONTENT_TAG}` = '{sha256}'"


def find_ready(client: Any, experiment_id: str, which: str) -> Any | None:
    """Return the latest READY model of an experiment that an MLflow filter selects, or None."""
    latest_first = [{"field_name": "creation_timestamp", "ascending": False}]
    found = client.search_logged_models([experiment_id], which, order_by=latest_first)
    # Not in the filter: stores spell a status differently there.
    return next((model for model in found if str(model.status) == "READY"), None)


def model_folder(uri: str, model: Any) -> Path:
    """Return a logged model's folder on this machine, downloaded if the store keeps it elsewhere."""
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(artifact_uri=model.artifact_location, tracking_uri=uri))


def name_on_page(client: Any, model: Any, name: str, version: int | str) -> None:
    """Show on a logged model's page the version it is registered as, which the client's own call does not do."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    shown = json.loads(model.tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    row = {"name": name, "version": str(version)}
    if row not in shown:
        client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: json.dumps([*shown, row])})


@contextmanager
def process_uri(uri: str) -> Iterator[None]:
    """Set the process's tracking address for the block: MLflow's registry uses that one to look up a model's source."""
    import mlflow

    variable = os.environ.get(_URI_VARIABLE)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # which also sets the variable
        if variable is None:
            os.environ.pop(_URI_VARIABLE, None)
        else:
            os.environ[_URI_VARIABLE] = variable


def link_base(tracker: Tracker, base: BaseFacts) -> str:
    """Link the base model as an input of the run: an external model, one per experiment and content hash.

    Returns:
        MLflow's id of the base model.
    """
    from mlflow.entities import LoggedModelInput
    from mlflow.models.utils import get_external_mlflow_model_spec
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

    client = tracker.client
    with tracking_errors(tracker.uri):
        mine = f"name = 'base' AND tags.`{BASE_SHA_TAG}` = '{base.sha256}'"
        model = find_ready(client, tracker.experiment_id, mine)
        if model is None:
            model = client.create_logged_model(
                tracker.experiment_id,
                name="base",
                tags={MLFLOW_MODEL_IS_EXTERNAL: "true", BASE_SHA_TAG: base.sha256},
                params={
                    "name": base.name,
                    "revision": base.revision,
                    "sha256": base.sha256,
                    "n_parameters": str(base.n_parameters),
                },
                model_type="base",
            )
            with tempfile.TemporaryDirectory() as scratch:
                get_external_mlflow_model_spec(model).save(str(Path(scratch) / "MLmodel"))
                client.log_model_artifacts(model.model_id, scratch)
            client.finalize_logged_model(model.model_id, "READY")
        client.log_inputs(tracker.run_id, models=[LoggedModelInput(model.model_id)])
    return str(model.model_id)


def link_model(tracker: Tracker, model_id: str) -> None:
    """Link a logged model as an input of the run, for instance of a run that evaluates it."""
    from mlflow.entities import LoggedModelInput

    with tracking_errors(tracker.uri):
        tracker.client.log_inputs(tracker.run_id, models=[LoggedModelInput(model_id)])
