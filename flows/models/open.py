"""What a person may name as a model, opened: a run, a model of MLflow, or a checkpoint folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from thickets.flows.config.file import load_config
from thickets.flows.models.logged import RECIPE_KEY
from thickets.flows.results.runs import find_run
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder
from thickets.storage.models.manifest import EnsembleManifest, Recipe
from thickets.storage.tracking.models import find_ready, model_folder
from thickets.storage.tracking.store import RUN_ID_TAG, mlflow_client, tracking_errors
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.serving import Answerer, open_answerer, open_ensemble

FORMS = (
    "a run, models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID, runs:/ID/NAME, or with --like RUN a checkpoint "
    "folder, hub id or whatever else a config's model can be"
)
_MANIFEST = Path("artifacts") / "manifest.json"


@dataclass(frozen=True)
class NamedModel:
    """A model that can be asked.

    Attributes:
        title: How it was named, or what that stands for.
        recipe: How it is asked.
        manifest: The ensemble, or that of the run a student or a checkpoint is asked like; None if that is not here.
        checkpoint: The weights of a single model; None for an ensemble.
        own_template: Whether the checkpoint is asked in its own form of prompt if that is not the recipe's.
        trust_remote_code: Whether the run that it belongs to allows code that comes with the model.
        tracking_uri: The MLflow store it belongs to; None for the home's own.
        experiment: The MLflow experiment it belongs to.
        model_id: MLflow's id of it, if it was named by an address of MLflow's.
        run_id: Ours, if it is the ensemble of a run that was named.
    """

    title: str
    recipe: Recipe
    manifest: EnsembleManifest | None
    checkpoint: Path | None = None
    own_template: bool = False
    trust_remote_code: bool = False
    tracking_uri: str | None = None
    experiment: str = "thickets"
    model_id: str | None = None
    run_id: str | None = None

    def open(self, device: str = "auto") -> Answerer:
        """Load it.

        Raises:
            InputError: Its base is not here or not what it was, or it does not fit this version.
        """
        if self.checkpoint is not None:
            return open_answerer(
                self.recipe,
                self.checkpoint,
                device=device,
                trust_remote_code=self.trust_remote_code,
                own_template=self.own_template,
            )
        assert self.manifest is not None  # one of the two there is
        return open_ensemble(self.manifest, device=device, trust_remote_code=self.trust_remote_code)


def find_model(home: Home, name: str, like: str | None = None) -> NamedModel:
    """Find what a name stands for.

    Args:
        home: Where runs are kept, and MLflow's store unless ``$MLFLOW_TRACKING_URI`` names another.
        name: See `FORMS`.
        like: For a model that does not say how it is asked: the run whose problem and decoding it is asked with.

    Raises:
        InputError: There is no such model, or it cannot be asked.
        RunError: MLflow's store cannot be used.
    """
    if name.startswith(("models:/", "runs:/")) or _is_run(home, name):
        if like is not None:
            raise InputError(f"--like: {like!r} is for a checkpoint or a hub id; {name} says itself how it is asked")
        return _of_run(home, name) if _is_run(home, name) else _of_mlflow(home, name)
    if like is not None:
        run = find_run(home, like)
        manifest, about = _manifest(run), _about(run)
        found = find_base_model(name, trust_remote_code=about["trust_remote_code"])
        return NamedModel(name, manifest.recipe, manifest, found.path, own_template=True, **about)
    if "/" in name or Path(name).expanduser().exists():  # neither is in a run's id
        raise InputError(f"--like: missing; {name} is no run but a model: name the run it is to be asked like")
    return _of_run(home, name)


def _is_run(home: Home, name: str) -> bool:
    return name == "latest" or ("/" not in name and home.run(name).config.is_file())


def _of_run(home: Home, name: str) -> NamedModel:
    run = find_run(home, name)
    manifest = _manifest(run)
    return NamedModel(run.run_id, manifest.recipe, manifest, run_id=run.run_id, **_about(run))


def _of_mlflow(home: Home, name: str) -> NamedModel:
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.mlflow_db.resolve()}"
    with tracking_errors(uri):
        client = mlflow_client(uri)
        model = _logged_model(client, name)
        folder = model_folder(uri, model)
        experiment = client.get_experiment(model.experiment_id).name
    about = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    where = {"tracking_uri": uri, "experiment": experiment, "model_id": model.model_id}
    if (folder / _MANIFEST).is_file():
        manifest = EnsembleManifest.load(folder / _MANIFEST)
        return NamedModel(name, manifest.recipe, manifest, **where)
    recipe = (about.get("metadata") or {}).get(RECIPE_KEY)
    if recipe is None:
        raise InputError(f"MODEL: {name} was not logged by thickets, so it does not say how it is asked")
    run = home.run(model.tags[RUN_ID_TAG])
    manifest_here = _manifest(run) if run.manifest.is_file() else None
    return NamedModel(name, Recipe.model_validate_json(recipe), manifest_here, folder / "model", **where)


def _logged_model(client: Any, name: str) -> Any:
    """The logged model that an address of MLflow's stands for."""
    from mlflow.exceptions import MlflowException

    scheme, _, rest = name.partition(":/")
    try:
        model = _of_a_run(client, rest) if scheme == "runs" else _of_the_registry(client, rest)
    except MlflowException as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"MODEL: there is no {name}: {reason}; allowed are {FORMS}") from None
    if model is None:
        raise InputError(f"MODEL: there is no {name}; allowed are {FORMS}")
    return model


def _of_a_run(client: Any, rest: str) -> Any | None:
    run_id, _, name = rest.partition("/")
    experiment_id = client.get_run(run_id).info.experiment_id
    return find_ready(client, experiment_id, f"name = '{name}' AND source_run_id = '{run_id}'")


def _of_the_registry(client: Any, rest: str) -> Any:
    name, at, alias = rest.partition("@")
    if at:
        rest = client.get_model_version_by_alias(name, alias).source.removeprefix("models:/")
    elif "/" in rest:
        rest = client.get_model_version(*rest.split("/", 1)).source.removeprefix("models:/")
    return client.get_logged_model(rest)


def _manifest(run: RunFolder) -> EnsembleManifest:
    if not run.manifest.is_file():
        raise InputError(f"RUN: {run.run_id} is not finished; run its config again to go on: {run.config}")
    return EnsembleManifest.load(run.manifest)


def _about(run: RunFolder) -> dict[str, Any]:
    """What a run's config says about its models."""
    config = load_config(str(run.config))
    return {
        "trust_remote_code": config.engine.trust_remote_code,
        "tracking_uri": config.tracking.uri,
        "experiment": config.tracking.experiment,
    }
