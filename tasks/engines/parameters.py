"""Counts the parameters of a checkpoint, and those of them that a token passes through."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.storage.models.weights import tensor_shapes
from thickets.tasks.engines.model_kinds import kind_of

# Fields of configs of Transformers: experts per layer, and how many of them a token is sent to.
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk")
_OF_AN_EXPERT = re.compile(r"\.experts\.")  # an expert that all tokens share is called otherwise
_OUTPUT = re.compile(r"(^|\.)lm_head\.weight$")


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of parameters.

    Attributes:
        n: All; embeddings that are also the output count once.
        n_active: Those that a token passes through: of a mixture's experts only as many as a token is sent to. Equal to
            `n` where the config does not tell.
    """

    n: int
    n_active: int


def count_parameters(folder: Path, *, trust_remote_code: bool = False) -> Parameters:
    """Count the parameters of a model folder; no weight is read.

    Args:
        folder: The checkpoint.
        trust_remote_code: Run Python code found in the folder.

    Raises:
        InputError: The weights are absent or broken.
    """
    shapes = tensor_shapes(folder)
    if not kind_of(folder).is_language_model:
        return parameters_of(None, shapes)
    from transformers import AutoConfig  # it fills in what config.json leaves out

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    return parameters_of(config, shapes)


def parameters_of(config: Any, shapes: Mapping[str, Sequence[int]]) -> Parameters:
    """Count parameters.

    Args:
        config: A config of Transformers; None for a model that has none.
        shapes: Shape of every stored tensor, by name.
    """
    text = None if config is None else config.get_text_config()
    is_tied = bool(getattr(config, "tie_word_embeddings", False))
    counts = {name: math.prod(shape) for name, shape in shapes.items() if not (is_tied and _OUTPUT.search(name))}
    n = sum(counts.values())
    n_experts, per_token = _first(text, _EXPERTS), _first(text, _EXPERTS_PER_TOKEN)
    if n_experts is None or per_token is None or per_token >= n_experts:
        return Parameters(n, n)
    of_experts = sum(count for name, count in counts.items() if _OF_AN_EXPERT.search(name))
    return Parameters(n, n - of_experts * (n_experts - per_token) // n_experts)


def _first(config: Any, names: Sequence[str]) -> int | None:
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), None)
