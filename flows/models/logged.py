"""Logs ensemble, merge, student or rival as an MLflow model, with requirements and answers on the test split."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

import thickets
from thickets.storage.fingerprint import fingerprint
from thickets.storage.home import model_cache
from thickets.storage.models.base import BUILT_IN
from thickets.storage.models.manifest import EnsembleManifest, Manifest, Recipe, load_manifest
from thickets.storage.models.weights import identify_weights
from thickets.storage.tracking.models import BASE_SHA_TAG, CONTENT_TAG, ModelKind, log_model
from thickets.storage.tracking.run import Tracker
from thickets.storage.tracking.store import RUN_ID_TAG
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.problems.fields import REASONING_GYM_PREFIX, VERIFIERS, problem_title
from thickets.tasks.serving import load_recipe_problem
from thickets.tasks.types import FULL, Example, question_id
from thickets.tasks.verifiers.own_code import trainer_of

# In the model's folder, beside what MLflow puts there.
TEST_ANSWERS = "test_answers.parquet"
RECIPE_KEY = "thickets_recipe"

PROBLEM_TAG = "thickets.problem"
BASE_TAG = "thickets.base"
TEST_SHA_TAG = "thickets.test_sha256"
TEST_SPLIT_TAG = "thickets.test_split"
TEST_ACCURACY_TAG = "thickets.test_accuracy"

_PACKAGE = Path(thickets.__path__[0])
_MODEL_CODE = _PACKAGE / "tasks" / "serving" / "ensemble_model.py"
# Packages that answering imports; mlflow-skinny loads and serves models, without the tracking server.
_ANSWERING = (
    "mlflow-skinny",
    "filelock",
    "huggingface-hub",
    "numba",
    "numpy",
    "pandas",
    "platformdirs",
    "pydantic",
    "safetensors",
    "torch",
    "transformers",
)
_CHECKPOINT = ("mlflow-skinny", "accelerate", "numpy", "pandas", "safetensors", "torch", "transformers")
_GGUF = ("accelerate", "gguf")
_OF_VERIFIER = {"math": "math-verify", "olympiadbench": "math-verify", "molecule": "rdkit", "similarity": "rapidfuzz"}
_TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "vocab*", "merges.txt", "*.jinja", "*.model", "*.tiktoken")


@dataclass(frozen=True)
class KeptAnswers:
    """A model's answers on a test split, question by question, so that a later model can be compared with it.

    Attributes:
        frame: example_id, answer, correct, score (thousandths).
        sha256: Hash of the split.
        problem: Identity of the problem; the same questions judged by another rule are another test.
    """

    frame: pl.DataFrame
    sha256: str
    problem: dict[str, Any]

    @property
    def tags(self) -> dict[str, str]:
        """Tags for the model's page."""
        return {
            TEST_SHA_TAG: self.sha256,
            TEST_SPLIT_TAG: fingerprint({"problem": self.problem, "test": self.sha256}),
            TEST_ACCURACY_TAG: f"{self.frame['score'].sum() / (FULL * self.frame.height):.4f}",
        }

    def save(self, folder: Path) -> None:
        """Write the answers into a model's folder."""
        self.frame.select("example_id", "answer", "correct", "score").write_parquet(folder / TEST_ANSWERS)


def judging_packages(problem: dict[str, Any]) -> list[str]:
    """Return the packages that finding and comparing answers imports besides, by the problem's identity."""
    package = _OF_VERIFIER.get(str(problem.get("verifier")))
    return [] if package is None else [package]


def content_of(manifest: Manifest) -> str:
    """Return the hash of what an ensemble or a merge is made of."""
    return fingerprint(json.loads(manifest.model_dump_json()))


def log_manifest(tracker: Tracker, manifest_file: Path, run_id: str, answers: KeptAnswers, question: str) -> str:
    """Log the ensemble or the merge of a run: code, manifest and requirements, some hundred kilobytes and no weights.

    Args:
        tracker: The MLflow run.
        manifest_file: The ensemble, or the merge.
        run_id: Our id of the run.
        answers: Its answers on the test split.
        question: A question for the input example.

    Returns:
        MLflow's id of the model.
    """
    manifest = load_manifest(manifest_file)

    def save(folder: Path, model: Any) -> None:
        import mlflow
        import pandas as pd

        name = manifest.base.name
        is_closest = manifest.problem.get("metric") is not None
        mlflow.pyfunc.save_model(
            str(folder),
            python_model=str(_MODEL_CODE),
            artifacts={"manifest": str(manifest_file)},
            code_paths=[str(path) for path in _code(manifest.recipe)],
            signature=_signature(has_similarity=is_closest),
            input_example=(pd.DataFrame({"question": [question]}), {"k": 0, "temperature": 0.0, "return_votes": False}),
            pip_requirements=pinned(
                [
                    *_ANSWERING,
                    *(_GGUF if name.lower() == BUILT_IN or name.endswith(".gguf") else ()),
                    *judging_packages(manifest.problem),
                    *(["reasoning-gym"] if str(manifest.problem["name"]).startswith(REASONING_GYM_PREFIX) else ()),
                ]
            ),
            model_config={"device": "auto", "trust_remote_code": False},
            mlflow_model=model,
        )
        answers.save(folder)

    tags = _tags(run_id, manifest.recipe, manifest.base.name, answers)
    tags |= {CONTENT_TAG: content_of(manifest), BASE_SHA_TAG: manifest.base.sha256}
    params = {"base": manifest.base.name, "noise_version": str(manifest.noise.version)}
    kind: ModelKind = "ensemble" if isinstance(manifest, EnsembleManifest) else "merge"
    if isinstance(manifest, EnsembleManifest):
        params = {"k": str(len(manifest.experts)), "vote": manifest.vote, **params}
    else:
        params = {"k": str(len(manifest.members)), "label": manifest.label, **params}
    return log_model(tracker, kind, tags, params, save)


def log_checkpoint(
    tracker: Tracker,
    kind: ModelKind,
    checkpoint: Path,
    run_id: str,
    recipe: Recipe,
    base: str,
    answers: KeptAnswers,
    question: str,
) -> str:
    """Log the checkpoint of a student or a rival so that `mlflow.transformers`, `from_pretrained` and vLLM can load it.

    Args:
        tracker: The MLflow run that made it.
        kind: What it is.
        checkpoint: Config, safetensors, tokenizer and README.md.
        run_id: Our id of the run.
        recipe: How it is prompted, decoded and judged; kept in the model's metadata.
        base: Name of the base model.
        answers: Its answers on the test split.
        question: A question for the input example, which has the run's prompt.

    Returns:
        MLflow's id of the model. Its folder ``model`` is an ordinary checkpoint with its tokenizer.
    """

    def save(folder: Path, model: Any) -> None:
        import mlflow
        from huggingface_hub import ModelCard
        from transformers import AutoModelForCausalLM, AutoTokenizer

        weights = AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto", local_files_only=True)
        # Otherwise the model's page would name a folder of this machine. With spaces, because MLflow asks the hub for
        # the licence of every name that could be a hub id.
        weights.name_or_path = f"{kind} of {run_id}"
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
        chat = tokenizer.chat_template is not None
        messages = load_recipe_problem(recipe).messages(Example(question_id(question), question, ""))
        ask: dict[str, Any] = (
            {"messages": list(messages)} if chat else {"prompt": PromptTemplate(tokenizer).render(messages)}
        )
        mlflow.transformers.save_model(
            {"model": weights, "tokenizer": tokenizer},
            str(folder),
            task="llm/v1/chat" if chat else "llm/v1/completions",
            torch_dtype=weights.dtype,
            input_example={**ask, "max_tokens": recipe.decoding["max_tokens"]},
            pip_requirements=pinned(_CHECKPOINT),
            metadata={RECIPE_KEY: recipe.model_dump_json()},
            model_card=ModelCard((checkpoint / "README.md").read_text(encoding="utf-8")),
            mlflow_model=model,
        )
        licence = f"Made from {base}, whose licence applies.\n"
        (folder / "LICENSE.txt").write_text(licence, encoding="utf-8")  # MLflow's names a page that there is not
        for pattern in _TOKENIZER_FILES:  # MLflow keeps the tokenizer elsewhere, and vLLM looks for it here
            for path in checkpoint.glob(pattern):
                shutil.copyfile(path, folder / "model" / path.name)
        answers.save(folder)

    content = identify_weights(checkpoint, model_cache() / "digests.json").sha256
    tags = _tags(run_id, recipe, base, answers)
    return log_model(tracker, kind, tags | {CONTENT_TAG: content}, {"base": base}, save)


def pinned(names: Sequence[str]) -> list[str]:
    """Pin requirements to the versions installed here, without the local part (``+cpu``), which no index has."""
    found = []
    for name in names:
        try:
            found.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            found.append(name)
    return found


def recipe_title(recipe: Recipe) -> str:
    """Return what people call the problem of a recipe."""
    return problem_title(str(recipe.problem["name"]), label=recipe.problem_config.get("label"))


def _tags(run_id: str, recipe: Recipe, base: str, answers: KeptAnswers) -> dict[str, str]:
    return {RUN_ID_TAG: run_id, PROBLEM_TAG: recipe_title(recipe), BASE_TAG: base, **answers.tags}


def _code(recipe: Recipe) -> list[Path]:
    """Return our package, for places where it is not installed, and the user's verifier if there is one."""
    found = [_PACKAGE]
    verifier = recipe.problem_config.get("verifier")
    if verifier and verifier not in VERIFIERS:
        _, function = trainer_of(verifier) or ("", verifier)
        module = importlib.util.find_spec(function.partition(":")[0].partition(".")[0])
        if module and module.origin and "site-packages" not in module.origin:
            path = Path(module.origin)
            found.append(path.parent if path.name == "__init__.py" else path)
    return found


def _signature(*, has_similarity: bool) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec("string", "question")]),
        outputs=Schema(
            [
                ColSpec("string", "answer", required=False),
                ColSpec("double", "margin"),
                ColSpec("long", "n_votes"),
                ColSpec("long", "n_asked"),
                ColSpec("string", "votes", required=False),
                *([ColSpec("double", "similarity", required=False)] if has_similarity else []),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("k", "long", 0),
                ParamSpec("temperature", "double", 0.0),
                ParamSpec("return_votes", "boolean", False),
            ]
        ),
    )
