"""Finds a model by the name a user gives: a run, a model in MLflow, or a checkpoint folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thickets.flows.config.file import load_config
from thickets.flows.models.logged import RECIPE_KEY
from thickets.flows.models.materialize import load_merge
from thickets.flows.results.runs import find_run, load_summary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest, Manifest, Recipe, load_manifest
from thickets.storage.sqlite import sqlite_url
from thickets.storage.tracking.models import find_model as find_logged
from thickets.storage.tracking.models import find_ready, model_folder
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG, mlflow_client, tracking_errors
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.serving import Answerer, open_answerer, open_ensemble

FORMS = (
    "a run, models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID, runs:/ID/NAME, or with --like RUN a checkpoint "
    "folder, hub id or whatever else a config's model can be"
)
_MANIFESTS = (Path("artifacts") / "manifest.json", Path("artifacts") / "merge.json")


@dataclass(frozen=True)
class NamedModel:
    """A model that can answer questions.

    Attributes:
        title: The name that was given; for a run its id.
        recipe: How the model is prompted, decoded and judged.
        manifest: The ensemble or the merge; of another single model that of the run whose recipe it uses, or None if
            that run is not here.
        checkpoint: The weights of a single model; None for an ensemble or a merge.
        own_template: Whether the checkpoint uses its own prompt template if that is not the recipe's.
        trust_remote_code: Whether the model's run allows code that comes with the model.
        tracking_uri: The model's MLflow store; None for the home's own.
        experiment: The model's MLflow experiment.
        model_id: MLflow's id of the model, if an MLflow address named it.
        run_id: Our id of the run, if its name was given.
    """

    title: str
    recipe: Recipe
    manifest: Manifest | None
    checkpoint: Path | None = None
    own_template: bool = False
    trust_remote_code: bool = False
    tracking_uri: str | None = None
    experiment: str = "thickets"
    model_id: str | None = None
    run_id: str | None = None

    def open(self, device: str = "auto") -> Answerer:
        """Load the model.

        Raises:
            InputError: The base is not here or has other weights, or the model does not fit this version.
        """
        if self.checkpoint is not None:
            return open_answerer(
                self.recipe,
                self.checkpoint,
                device=device,
                trust_remote_code=self.trust_remote_code,
                own_template=self.own_template,
            )
        assert self.manifest is not None  # a model without a checkpoint is made of noise
        return open_ensemble(self.manifest, device=device, trust_remote_code=self.trust_remote_code)


def find_model(home: Home, name: str, like: str | None = None, *, merge: bool = False) -> NamedModel:
    """Find the model that a name stands for.

    Args:
        home: Where runs are kept, and MLflow's store unless ``$MLFLOW_TRACKING_URI`` names another.
        name: See `FORMS`.
        like: The run whose recipe to use, for a model that has none of its own.
        merge: Take the merge of a run instead of its ensemble.

    Raises:
        InputError: There is no such model, or it has no recipe.
        RunError: MLflow's store cannot be used.
    """
    if name.startswith(("models:/", "runs:/")) or _is_run(home, name):
        if like is not None:
            raise InputError(f"--like: {like!r} is for a checkpoint or a hub id; {name} says itself how it is asked")
        if _is_run(home, name):
            return _from_run(home, name, merge=merge)
        if merge:
            raise InputError(f"--merge: is for a run; {name} is one model already")
        return _from_mlflow(home, name)
    if like is not None:
        if merge:
            raise InputError(f"--merge: is for a run; {name} is asked like one, but is a model already")
        run = find_run(home, like)
        manifest, about = _manifest(run), _about(run)
        found = find_base_model(name, trust_remote_code=about["trust_remote_code"])
        return NamedModel(name, manifest.recipe, manifest, found.path, own_template=True, **about)
    if "/" in name or Path(name).expanduser().exists():  # a run's id is neither
        raise InputError(f"--like: missing; {name} is no run but a model: name the run it is to be asked like")
    return _from_run(home, name, merge=merge)


def find_student(home: Home, run: RunFolder) -> NamedModel:
    """Find the latest student of a finished run, in MLflow.

    Raises:
        InputError: The run has none.
        RunError: MLflow's store cannot be used.
    """
    summary = load_summary(run)
    uri = summary.tracking.mlflow_uri
    with tracking_errors(uri):
        tracker = Tracker.find(uri, summary.tracking.mlflow_run_id, run.run_id)
        found = tracker and find_logged(tracker.client, tracker.experiment_id, run.run_id, "student")
    if not found:
        raise InputError(f"--student: {run.run_id} has none; distil it first: thickets distill {run.run_id}")
    return _from_mlflow(home, f"models:/{found.model_id}", uri)


def _is_run(home: Home, name: str) -> bool:
    return name == "latest" or ("/" not in name and home.run(name).config.is_file())


def _from_run(home: Home, name: str, *, merge: bool) -> NamedModel:
    run = find_run(home, name)
    manifest: Manifest = _manifest(run)
    if merge:
        manifest = load_merge(run)
        manifest = manifest.model_copy(update=_base_of(run, manifest))
    return NamedModel(run.run_id, manifest.recipe, manifest, run_id=run.run_id, **_about(run))


def _from_mlflow(home: Home, name: str, uri: str | None = None) -> NamedModel:
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(home.mlflow_db.resolve())
    with tracking_errors(uri):
        client = mlflow_client(uri)
        model = _logged_model(client, name)
        folder = model_folder(uri, model)
        experiment = client.get_experiment(model.experiment_id).name
    about = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    where = {"tracking_uri": uri, "experiment": experiment, "model_id": model.model_id}
    if kept := next((folder / each for each in _MANIFESTS if (folder / each).is_file()), None):
        manifest = load_manifest(kept)
        own, run = Path(manifest.base.name), home.run(model.tags[RUN_ID_TAG])
        if own.is_absolute() and not own.exists() and run.config.is_file():
            manifest = manifest.model_copy(update=_base_of(run, manifest))
        return NamedModel(name, manifest.recipe, manifest, **where)
    recipe = (about.get("metadata") or {}).get(RECIPE_KEY)
    if recipe is None:
        raise InputError(f"MODEL: {name} was not logged by thickets, so it does not say how it is asked")
    run = home.run(model.tags[RUN_ID_TAG])
    manifest_here = _manifest(run) if run.manifest.is_file() else None
    return NamedModel(name, Recipe.model_validate_json(recipe), manifest_here, folder / "model", **where)


def _logged_model(client: Any, name: str) -> Any:
    """Return the logged model that an MLflow address stands for."""
    from mlflow.exceptions import MlflowException

    scheme, _, rest = name.partition(":/")
    try:
        model = _from_mlflow_run(client, rest) if scheme == "runs" else _from_registry(client, rest)
    except MlflowException as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"MODEL: there is no {name}: {reason}; allowed are {FORMS}") from None
    if model is None:
        raise InputError(f"MODEL: there is no {name}; allowed are {FORMS}")
    return model


def _from_mlflow_run(client: Any, rest: str) -> Any | None:
    run_id, _, name = rest.partition("/")
    experiment_id = client.get_run(run_id).info.experiment_id
    return find_ready(client, experiment_id, f"name = '{name}' AND source_run_id = '{run_id}'")


def _from_registry(client: Any, rest: str) -> Any:
    name, at, alias = rest.partition("@")
    if at:
        rest = client.get_model_version_by_alias(name, alias).source.removeprefix("models:/")
    elif "/" in rest:
        rest = client.get_model_version(*rest.split("/", 1)).source.removeprefix("models:/")
    return client.get_logged_model(rest)


def _manifest(run: RunFolder) -> EnsembleManifest:
    if not run.manifest.is_file():
        raise InputError(f"RUN: {run.run_id} is not finished; run its config again to go on: {run.config}")
    manifest = EnsembleManifest.load(run.manifest)
    return manifest.model_copy(update=_base_of(run, manifest))


def _base_of(run: RunFolder, manifest: Manifest) -> dict[str, Any]:
    """Return an update that names the base as the run's config does, which finds a model of a moved home."""
    return {"base": manifest.base.model_copy(update={"name": load_config(str(run.config)).model})}


def _about(run: RunFolder) -> dict[str, Any]:
    """Return what a run's config says about its models, as arguments of `NamedModel`."""
    config = load_config(str(run.config))
    return {
        "trust_remote_code": config.engine.trust_remote_code,
        "tracking_uri": config.tracking.uri,
        "experiment": config.tracking.experiment,
    }
