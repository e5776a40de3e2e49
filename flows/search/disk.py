"""How much disk a run takes: a little for every answer, and some megabytes that every run costs, however small."""

from __future__ import annotations

import os
from collections.abc import Mapping

from thickets.flows.plan import RunPlan
from thickets.storage.tracking.store import is_server

# A completion is kept once in a shard; its verdict beside it and once more in the database: 42 MB for 400,000 rows
# there. Text is counted uncompressed, although shards compress it: better too much. The rest was measured on finished
# runs of 2,080 to 2,576 answers.
_DATABASE_ROW = 105
_SHARD_ROW = 20
_SHARD = 2 * 4_096  # what two Parquet files of any size cost: completions and verdicts
_DATABASE = 4_200_000  # 16 blocks of DuckDB, in which tables and indexes begin
_REPORT = 800_000  # with figures and summary
_MLFLOW_RUN = 2_900_000  # report, figures and tables again, and the model with its code
_MLFLOW_DATABASE = 1_100_000  # the first run of a home makes it


def disk_bytes(plan: RunPlan, completions: Mapping[str, int], respondents: Mapping[str, int], text_bytes: float) -> int:
    """Estimate the bytes that a run leaves in its home.

    Args:
        plan: The run.
        completions: Answers, per split.
        respondents: Who gives them, per split.
        text_bytes: Mean length of an answer, in UTF-8.
    """
    together = plan.config.scoring.candidates_per_shard
    n_shards = sum(-(-n // together) * plan.n_blocks(split) for split, n in respondents.items())
    answers = sum(completions.values()) * (text_bytes + _SHARD_ROW + _DATABASE_ROW)
    return round(answers) + n_shards * _SHARD + _DATABASE + _REPORT + _mlflow_bytes(plan)


def _mlflow_bytes(plan: RunPlan) -> int:
    uri = plan.config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is not None and is_server(uri):
        return 0  # on the server's disk
    return _MLFLOW_RUN + (0 if uri or plan.home.mlflow_db.exists() else _MLFLOW_DATABASE)
