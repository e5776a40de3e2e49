"""The `tracking` and `storage` sections: where MLflow and the scores are kept."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from thickets.flows.config.section import Section


class TrackingConfig(Section):
    """Where MLflow keeps the run."""

    uri: str | None = Field(
        None, description="MLflow tracking URI; empty: $MLFLOW_TRACKING_URI, else an SQLite file in storage.home."
    )
    experiment: str = Field("thickets", min_length=1, description="MLflow experiment.")

    @field_validator("uri")
    @classmethod
    def _holds_no_password(cls, uri: str | None) -> str | None:
        return _without_password(uri, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database: PGPASSWORD)")


class StorageConfig(Section):
    """Where scores, completions and results are kept."""

    home: Path = Field(
        default_factory=lambda: Path(os.environ.get("THICKETS_HOME", "thickets-data")),
        description="Folder for everything that lasts (default: $THICKETS_HOME, else thickets-data).",
    )
    shards: str | None = Field(
        None,
        min_length=1,
        description="Where shards (completions and verdicts) go: a folder that every machine sees, or a URL such as "
        "s3://bucket/prefix; empty: inside storage.home.",
    )

    @field_validator("home", mode="before")
    @classmethod
    def _is_named(cls, home: object) -> object:
        if home == "":
            raise ValueError("found ''; name a folder (. is the one you are in)")
        return home

    @field_validator("shards")
    @classmethod
    def _holds_no_password(cls, shards: str | None) -> str | None:
        return _without_password(shards, "the variables of the store, such as AWS_SECRET_ACCESS_KEY")


def _without_password(address: str | None, instead: str) -> str | None:
    """Refuse ``scheme://user:password@host``: a configuration is kept in files, in Prefect and in MLflow."""
    try:
        holds_one = address is not None and "://" in address and urlsplit(address).password is not None
    except ValueError as error:
        raise ValueError(f"found {address!r}, which is no address: {error}") from None
    if holds_one:
        raise ValueError(f"holds a password, which would be kept with the run; take it out and set {instead}")
    return address
