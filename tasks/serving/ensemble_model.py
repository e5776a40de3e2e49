"""An ensemble or a merge as an MLflow model. MLflow keeps this file with it and runs it to load it: no pickle."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from thickets.storage.errors import InputError
from thickets.storage.home import model_cache
from thickets.storage.models.manifest import load_manifest

# Numba keeps what it compiled beside the code, in files that it unpickles: not in MLflow's store, where this code is.
os.environ.setdefault("NUMBA_CACHE_DIR", str(model_cache() / "numba"))

from thickets.tasks.serving import Answer, open_ensemble

# Below MLflow's own logger, so that it is shown where MLflow's messages are.
logger = logging.getLogger("mlflow.thickets")


class EnsembleModel(mlflow.pyfunc.PythonModel):
    """Answers questions by the vote of the experts that its artifact, the manifest, names, or by its merge alone."""

    def load_context(self, context: Any) -> None:
        """Find the base, check its hash, and build the engine."""
        options = context.model_config or {}
        self._answerer = open_ensemble(
            load_manifest(Path(context.artifacts["manifest"])),
            device=options.get("device", "auto"),
            trust_remote_code=options.get("trust_remote_code", False),
        )

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer the column `question`.

        Args:
            context: MLflow's; unused.
            model_input: One row per question.
            params: ``k`` experts vote (0: all); ``temperature`` of their answers (0: greedy); ``return_votes`` lets
                all of them answer and adds each expert's answer, by rank, as a JSON array.

        Returns:
            Per question: answer (null if all abstained), margin (lead over the next answer when the last expert had
            answered, as a share of all votes), n_votes (experts that gave the answer), n_asked (experts that answered),
            votes (null without ``return_votes``). Where texts vote also similarity (of the answer to those of the other
            experts, mean; null without others).
        """
        given = params or {}
        every = bool(given.get("return_votes", False))
        try:
            found = self._answerer.ask(
                [str(question) for question in model_input["question"]],
                k=int(given.get("k", 0)),
                temperature=float(given.get("temperature", 0.0)),
                every=every,
            )
        except InputError as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from None
        logger.info(
            "%d questions, %d expert calls, %.1f %% of the calls saved",
            len(found.rows),
            found.n_calls,
            100 * found.saved,
        )
        is_closest = self._answerer.consensus.is_closest
        return pd.DataFrame([_row(answer, every, is_closest) for answer in found.rows])


def _row(answer: Answer, every: bool, is_closest: bool) -> dict[str, Any]:
    return {
        "answer": answer.answer,
        "margin": answer.margin,
        "n_votes": answer.n_votes,
        "n_asked": answer.n_asked,
        "votes": json.dumps(answer.ballots) if every else None,
        **({"similarity": answer.similarity} if is_closest else {}),
    }


mlflow.models.set_model(EnsembleModel())
