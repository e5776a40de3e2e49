"""Describes splits to MLflow as data sets, under our own content hash."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

_DIGEST_LENGTH = 32  # MLflow allows 36


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


def _mlflow_type(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "long"
    if dtype.is_float():
        return "double"
    return "boolean" if dtype == pl.Boolean else "string"
