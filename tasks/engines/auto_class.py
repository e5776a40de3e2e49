"""The Auto class of Transformers that makes a language model of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText


def auto_class(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return the class whose ``from_pretrained`` loads a checkpoint's model with its language-modelling head.

    Models that read images as well (Qwen2.5-VL, LLaVA) are known to another class than those of text alone; asked text
    alone they answer like these.
    """
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    name = AutoModelForCausalLM.__name__
    if type(config) in AutoModelForCausalLM._model_mapping or name in (getattr(config, "auto_map", None) or {}):
        return AutoModelForCausalLM
    reads_images = type(config) in AutoModelForImageTextToText._model_mapping
    return AutoModelForImageTextToText if reads_images else AutoModelForCausalLM
