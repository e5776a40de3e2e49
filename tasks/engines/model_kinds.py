"""The kinds of base models, and what is particular to each: engine, prompts, context length.

`kind_of` reads a model folder and returns its `ModelKind`; nobody else asks what a folder holds. Needs no PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from thickets.storage.errors import InputError
from thickets.tasks.engines.model_files import broken_files
from thickets.tasks.engines.prompts import PromptTemplate, Template, ValuesTemplate
from thickets.tasks.types import Scalar


class ModelKind(Protocol):
    """What callers must know of a base model before its engine is built.

    Attributes:
        only_engine: The one engine that runs it, as `EngineSpec.kind` names it; None: transformers or vLLM.
        is_language_model: Transformers loads it, so it can be distilled and exported.
        ends_answers: It can end an answer before the limit of tokens; else that limit cuts nothing off.
    """

    only_engine: str | None
    is_language_model: bool
    ends_answers: bool

    def prompt_template(
        self, folder: Path, given: Mapping[str, Scalar] | None = None, *, trust_remote_code: bool = False
    ) -> Template:
        """Make the template that renders prompts for this model.

        Args:
            folder: The checkpoint.
            given: Further values for its chat template (``decoding.chat_template_kwargs``).
            trust_remote_code: Run Python code found in the folder.

        Raises:
            InputError: It has no chat template that looks at the values.
        """

    def context_length(self, folder: Path, *, trust_remote_code: bool = False) -> int | None:
        """Most tokens that the model is made for, prompt and answer together; None where no limit is known."""


class LanguageModel:
    """A checkpoint that Transformers loads, with a tokenizer."""

    only_engine: str | None = None
    is_language_model = True
    ends_answers = True

    def prompt_template(
        self, folder: Path, given: Mapping[str, Scalar] | None = None, *, trust_remote_code: bool = False
    ) -> Template:
        """Read the tokenizer's chat template."""
        _check_known(folder)
        return PromptTemplate.from_folder(folder, given, trust_remote_code=trust_remote_code)

    def context_length(self, folder: Path, *, trust_remote_code: bool = False) -> int | None:
        """Read the config's number of positions."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if "text_config" not in config and isinstance(written := config.get("max_position_embeddings"), int):
            return written
        from thickets.tasks.engines.checkpoint import max_positions  # PyTorch: seconds

        with broken_files("config.json", folder):
            return max_positions(folder, trust_remote_code=trust_remote_code)


def _check_known(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if (kind := config.get("model_type")) == "llama" or config.get("auto_map"):
        return  # the first without the second that the import takes
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if kind not in CONFIG_MAPPING_NAMES:
        raise InputError(
            f"model: {folder / 'config.json'} is of model_type {kind!r}, which this version of Transformers does not "
            "know; a newer one may"
        )


class SignalsModel:
    """A small network that continues one-dimensional signals (`thickets.tasks.signals`)."""

    only_engine: str | None = "signals"
    is_language_model = False
    ends_answers = False

    def prompt_template(
        self, folder: Path, given: Mapping[str, Scalar] | None = None, *, trust_remote_code: bool = False
    ) -> Template:
        """Return the template that writes values as they are; there is no tokenizer to read."""
        if given:
            raise InputError(
                f"decoding.chat_template_kwargs: found {', '.join(given)}, but a signals network has no chat template; "
                "remove it"
            )
        return ValuesTemplate()

    def context_length(self, folder: Path, *, trust_remote_code: bool = False) -> int | None:
        """None: its engine refuses every prompt that is not exactly as long as its window."""
        return None


def kind_of(folder: Path) -> ModelKind:
    """Return the kind of the model in a folder, by its config.json."""
    from thickets.tasks.signals.recipe import is_signals_model  # pydantic, which an engine alone does not need

    return SignalsModel() if is_signals_model(folder) else LanguageModel()
