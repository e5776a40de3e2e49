"""The model that a trainer is given: the base's weights in a type that can be trained, and adapters on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal


def load_learner(base: Path, method: Literal["lora", "full"], device: str, *, trust_remote_code: bool) -> Any:
    """Load the weights that a training starts from.

    Args:
        base: Folder of the base checkpoint.
        method: Adapters on frozen weights, or all weights.
        device: Where it will be trained.
        trust_remote_code: Run Python code found in the folder.
    """
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        base,
        # Weights that are trained need float32. A frozen base could do without, but on the CPU PyTorch has no fast
        # kernels for the gradients of 16-bit products.
        dtype="auto" if method == "lora" and device != "cpu" else torch.float32,
        trust_remote_code=trust_remote_code,
        use_safetensors=True,
        local_files_only=True,
    )


def adapters(method: Literal["lora", "full"], rank: int, alpha: int) -> Any:
    """Return the configuration of the adapters on every linear layer; None where all weights are trained."""
    if method == "full":
        return None
    from peft import LoraConfig, TaskType

    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", task_type=TaskType.CAUSAL_LM
    )
