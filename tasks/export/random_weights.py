"""A checkpoint with a model's architecture, tokenizer and prompts, and weights that have learnt nothing.

Weights are a function of the config, the names of the tensors and the noise contract (docs/design.md#noise): what the
architecture's own class draws at random is `initializer_range` times our noise under a fixed seed, and the rest is what
the class begins with, ones for norms and zeros for biases. PyTorch's generator, whose numbers depend on the device and
may depend on the version, decides nothing.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from thickets.storage.errors import InputError
from thickets.storage.models.weights import INDEX, WEIGHTS, save_tensors, weight_files
from thickets.tasks.engines.auto_class import auto_class
from thickets.tasks.engines.candidate_weights import write_candidate
from thickets.tasks.engines.checkpoint import Checkpoint, StoredTensor, inspect_checkpoint
from thickets.tasks.export.checkpoint import copy_companions
from thickets.tasks.types import Candidate

_SEED = int.from_bytes(hashlib.blake2b(b"thickets random weights 1", digest_size=8).digest(), "little")
_USUAL_RANGE = 0.02  # what Transformers takes where a config says nothing


def write_random_checkpoint(base: Path, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Write a checkpoint that differs from another in its weights alone.

    Args:
        base: The other; of its weights only names, shapes and types count.
        folder: Exists and is empty.
        trust_remote_code: Run Python code found in the base folder.

    Raises:
        InputError: Some of its parameters are no tensors of the checkpoint, or of a type without noise.
    """
    checkpoint = inspect_checkpoint(base, trust_remote_code=trust_remote_code)
    if checkpoint.names.without_noise:
        why = next(iter(checkpoint.names.without_noise.values()))
        raise InputError(f"{why}; so its weights cannot be drawn anew")
    sigma, begins = _beginning(base, checkpoint.dtype, trust_remote_code=trust_remote_code)
    for path in weight_files(base):
        tensors = {
            tensor.name: _drawn(tensor, checkpoint, sigma, begins)
            for tensor in checkpoint.tensors
            if tensor.file == path
        }
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        save_tensors(tensors, folder / path.relative_to(base), metadata)
    copy_companions(base, folder)
    if (base / INDEX).is_file() and not (base / WEIGHTS).is_file():
        (folder / INDEX).write_bytes((base / INDEX).read_bytes())


def _drawn(
    tensor: StoredTensor, checkpoint: Checkpoint, sigma: float, begins: dict[str, torch.Tensor | None]
) -> torch.Tensor:
    """Return the content of one tensor; one that the model ignores stays as it is."""
    content = tensor.read()
    if tensor.parameter is None:
        return content
    if (known := begins[tensor.parameter]) is not None:
        return known.to(content.dtype).reshape(content.shape).contiguous()
    flat = content.zero_().view(-1)
    name = checkpoint.names.noise_names[tensor.parameter]
    write_candidate(flat, flat, name=name, candidate=Candidate(_SEED, sigma), family="gaussian")
    return content


def _beginning(
    base: Path, dtype: torch.dtype, *, trust_remote_code: bool
) -> tuple[float, dict[str, torch.Tensor | None]]:
    """Make the model anew under two seeds, and see what chance has decided.

    Returns:
        The standard deviation of random weights; and by parameter what it begins with, None where that is random.
    """
    config: Any = AutoConfig.from_pretrained(base, trust_remote_code=trust_remote_code, local_files_only=True)
    make = auto_class(base, trust_remote_code=trust_remote_code)
    given = {"trust_remote_code": True} if trust_remote_code else {}
    digests: dict[str, bytes] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, parameter in make.from_config(config, dtype=dtype, **given).named_parameters():
            digests[name] = _digest(parameter)
        torch.manual_seed(1)
        again = make.from_config(config, dtype=dtype, **given)
    begins = {
        name: parameter.detach() if _digest(parameter) == digests[name] else None
        for name, parameter in again.named_parameters()
    }
    return _initializer_range(config), begins


def _initializer_range(config: Any) -> float:
    parts = (config, config.get_text_config())
    found = next((value for part in parts if (value := getattr(part, "initializer_range", None))), _USUAL_RANGE)
    return float(found)


def _digest(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().view(-1).view(torch.uint8)
    return hashlib.blake2b(flat.numpy().data, digest_size=16).digest()
