"""Reads what a run's folder holds, and says in one line what of it cannot be read."""

from __future__ import annotations

import shlex
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from thickets.flows.results.summary import RunSummary
from thickets.storage.errors import InputError
from thickets.storage.home import Home, RunFolder


class StoredProblem(BaseModel):
    """What a list of runs shows of a problem."""

    name: str
    path: str | None = None
    label: str | None = None


class StoredPopulation(BaseModel):
    """What a list of runs shows of a population."""

    size: int


class StoredConfig(BaseModel):
    """What a list of runs shows of a configuration; other fields, of whatever version, are passed over."""

    model: str
    problem: StoredProblem
    population: StoredPopulation


def stored_values(folder: RunFolder) -> dict[str, Any]:
    """Return a run's configuration as plain values: that of another version can be read too.

    Raises:
        InputError: It is not there, or not readable.
    """
    try:
        values = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"RUN: {folder.run_id} has no config.yaml") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"RUN: {folder.config} is not readable YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise InputError(f"RUN: {folder.config} must hold a mapping of fields, found {type(values).__name__}")
    return values


def stored_config(folder: RunFolder) -> StoredConfig:
    """Return what a list of runs shows of a run's configuration.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return StoredConfig.model_validate(stored_values(folder))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"RUN: {folder.config} does not fit any version: {field}: {first['msg']}") from None


def stored_summary(folder: RunFolder) -> RunSummary | None:
    """Return the summary of a finished run, with its folder as it is now; None if another version wrote it.

    Raises:
        InputError: It cannot be read.
    """
    try:
        text = folder.summary.read_text(encoding="utf-8")
        stored = RunSummary.model_validate_json(text)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise InputError(f"RUN: {folder.summary} is not readable JSON: {error.errors()[0]['msg']}") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"RUN: {folder.summary} cannot be read: {one_line(error)}") from None
    return _where_it_is(stored, folder)


def one_line(error: BaseException) -> str:
    """Return what an error says, on one line."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(words.split()) or type(error).__name__


def _where_it_is(stored: RunSummary, folder: RunFolder) -> RunSummary:
    """Replace paths of the home that the run was finished in by those of the home that it lies in."""
    where = folder.root.resolve()
    if stored.folder == where:
        return stored
    links = stored.tracking
    then, now = (Home(root.parents[1]).mlflow_db for root in (stored.folder.absolute(), where))
    if links.mlflow_uri == f"sqlite:///{then}" and now.is_file():
        uri = f"sqlite:///{now}"
        address = links.mlflow_address.replace(shlex.quote(links.mlflow_uri), shlex.quote(uri))
        links = links.model_copy(update={"mlflow_uri": uri, "mlflow_address": address})
    return stored.model_copy(update={"folder": where, "tracking": links})
