"""Writes a student: the best checkpoint of a training as a model folder of the base's type and layout, and its card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open

from thickets.storage.files import new_folder
from thickets.storage.models.weights import INDEX, save_tensors, weight_files
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.export.checkpoint import copy_companions, describe_weights


def write_student(
    base: Path,
    checkpoint: Path,
    target: Path,
    method: Literal["lora", "full"],
    card: str,
    *,
    trust_remote_code: bool = False,
    dtype: DtypeName = "auto",
) -> None:
    """Write a model folder that differs from the base in its weights and README.md; it appears whole or not at all.

    Adapters are merged in float32, and every weight is rounded once, to the type it has in the base's files or to
    another one.

    Args:
        base: Folder of the base checkpoint.
        checkpoint: Folder of the best checkpoint, from `thickets.tasks.distillation.training.train`.
        target: The new folder.
        method: How it was trained.
        card: Text of its README.md.
        trust_remote_code: Run Python code found in the base folder.
        dtype: Type of the weights; auto: each has the type that it has in the base's files.
    """
    from thickets.tasks.engines.checkpoint import inspect_checkpoint

    weights = dict(_trained(base, checkpoint, method, trust_remote_code).named_parameters())
    layout = inspect_checkpoint(base, dtype, trust_remote_code=trust_remote_code)
    size_bytes = 0
    with new_folder(target, "distillation") as scratch:
        for path in weight_files(base):
            tensors = {}
            for tensor in layout.tensors:
                if tensor.file == path:
                    stored = tensor.read()
                    trained = weights.get(tensor.parameter) if tensor.parameter else None
                    tensors[tensor.name] = stored if trained is None else trained.data.to(stored.dtype).contiguous()
            size_bytes += sum(tensor.nbytes for tensor in tensors.values())
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
            save_tensors(tensors, scratch / path.relative_to(base), metadata)
        copy_companions(base, scratch)
        if dtype != "auto":
            describe_weights(base, scratch, dtype, size_bytes)
        elif (base / INDEX).is_file():
            shutil.copyfile(base / INDEX, scratch / INDEX)  # the same tensors of the same size in the same files
        (scratch / "README.md").write_text(card, encoding="utf-8")


def student_card(base: str, run_id: str, problem: str, taught_by: str) -> str:
    """Return the text of the README.md: what the checkpoint is and where it comes from.

    Args:
        base: The model it was trained from, as the user named it.
        run_id: The search run whose experts gave the training data.
        problem: Name of the problem.
        taught_by: Description of the training data.
    """
    return f"""# A student of {run_id}

`{base}`, trained on {taught_by} to the problem `{problem}` (TRL, loss on the responses alone). It has the base's
type, tokenizer and chat template, and loads wherever the base does. How it compares with the base, the experts and the
ensemble is in `summary.json` of the distillation's folder. The base model's licence applies.
"""


def _trained(base: Path, checkpoint: Path, method: Literal["lora", "full"], trust_remote_code: bool) -> Any:
    """Load the trained model in float32, adapters merged."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        checkpoint if method == "full" else base,
        dtype=torch.float32,
        trust_remote_code=trust_remote_code,
        use_safetensors=True,
        local_files_only=True,
    )
    if method == "full":
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, checkpoint).merge_and_unload()
