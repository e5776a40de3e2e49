"""Any candidate or average as an ordinary checkpoint: the base's files again, with its weights in them.

The weights are those that `TransformersEngine` holds for the candidate, bit for bit. That
engine reads its tensors through Transformers, so Transformers is asked what it makes of each: it loads the base onto
the meta device, where tensors have names, shapes, types and ties, but no content. Content goes from file to file.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from thickets.storage.models.weights import INDEX, WEIGHTS, save_tensors, weight_files
from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.engines.checkpoint import inspect_checkpoint
from thickets.tasks.noise import Perturbation
from thickets.tasks.types import Weights

# What lies beside the weights: configurations, tokenizer, chat template, code of the model, terms of its use.
_COMPANIONS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py", "LICENSE*", "NOTICE*")
_TEMPLATE_FOLDER = "additional_chat_templates"


@dataclass(frozen=True, slots=True)
class Written:
    """Facts of a written checkpoint.

    Attributes:
        dtype: The model's type, as its config now names it.
        n_perturbed: Weights that the candidate changes; a tied tensor counts once.
    """

    dtype: str
    n_perturbed: int


def write_checkpoint(
    base: Path,
    folder: Path,
    weights: Weights | None,
    perturbation: Perturbation,
    *,
    dtype: DtypeName = "auto",
    trust_remote_code: bool = False,
) -> Written:
    """Write a candidate, or an average of candidates, as a checkpoint that anything which loads the base loads too.

    The division into files stays that of the base; one file at a time is in memory.

    Args:
        base: Folder of the base checkpoint.
        folder: Where it goes; exists and is empty.
        weights: Which candidate, average or merge; None: those of the base.
        perturbation: Which parameters are perturbed, how strongly, and with which family of noise.
        dtype: Type of the weights; they are cast first and perturbed then, as the engine does it.
        trust_remote_code: Run Python code found in the base folder.

    Raises:
        InputError: Parameters are not tensors of the checkpoint, none is perturbed, or one has a type without noise.
    """
    files = weight_files(base)
    checkpoint = inspect_checkpoint(base, dtype, trust_remote_code=trust_remote_code)
    perturbed = checkpoint.perturbed(perturbation)
    size_bytes = 0
    for path in files:
        tensors = {tensor.name: tensor.read() for tensor in checkpoint.tensors if tensor.file == path}
        if weights is not None:
            for name in tensors.keys() & perturbed.keys():
                flat, noise_name = tensors[name].view(-1), perturbed[name]
                factor = perturbation.factor(noise_name)
                write_weights(flat, flat, name=noise_name, weights=weights, family=perturbation.family, factor=factor)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        save_tensors(tensors, folder / path.relative_to(base), metadata)
        size_bytes += sum(tensor.nbytes for tensor in tensors.values())
    copy_companions(base, folder)
    run_dtype = str(checkpoint.dtype).removeprefix("torch.")
    describe_weights(base, folder, run_dtype, size_bytes)
    return Written(run_dtype, checkpoint.n_perturbed(perturbation))


def copy_companions(base: Path, folder: Path) -> None:
    """Copy what a model folder needs besides weights; links (a hub cache is full of them) become files."""
    for pattern in (*_COMPANIONS, f"{_TEMPLATE_FOLDER}/*.jinja"):
        for path in base.glob(pattern):
            # An index of weights in another format would name files that are not here.
            if path.is_file() and not path.name.endswith(".index.json"):
                target = folder / path.relative_to(base)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, target)


def describe_weights(base: Path, folder: Path, dtype: str, size_bytes: int) -> None:
    """Make a checkpoint's config.json say what type its weights are, and its index, if the base has one, their size."""
    _set_dtype(folder / "config.json", dtype)
    if (base / INDEX).is_file() and weight_files(base) != [base / WEIGHTS]:
        index = _read_json(base / INDEX)
        index.setdefault("metadata", {})["total_size"] = size_bytes
        _write_json(folder / INDEX, index)


def _set_dtype(path: Path, dtype: str) -> None:
    """Make a config say what type the weights are, by the field's old or new name, in its parts as well."""
    config = _read_json(path)
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    changed = False
    for part in parts:
        fields = [field for field in ("dtype", "torch_dtype") if field in part] or (["dtype"] if part is config else [])
        for field in fields:
            changed |= part.get(field) != dtype
            part[field] = dtype
    if changed:  # else it stays the base's, byte for byte
        _write_json(path, config)


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
