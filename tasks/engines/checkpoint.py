"""A checkpoint's tensors under the names the noise contract uses: those of the model's own parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from storage.errors import InputError
from storage.weights import weight_files


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint file.

    Attributes:
        name: Its name in the file.
        parameter: Canonical name of the parameter it fills: tied parameters share one. None for buffers and the like.
        file: Where it is.
    """

    name: str
    parameter: str | None
    file: Path

    def read(self) -> torch.Tensor:
        """The tensor, in memory of its own."""
        with safe_open(self.file, framework="pt") as file:
            return file.get_tensor(self.name).clone()


def stored_tensors(folder: Path, *, trust_remote_code: bool = False) -> list[StoredTensor]:
    """List the tensors of a checkpoint and what each is to the model.

    Raises:
        InputError: A parameter of the model is not a tensor of the checkpoint, so its noise would not be defined.
    """
    model = _skeleton(folder, trust_remote_code)
    canonical = {id(parameter): name for name, parameter in model.named_parameters()}
    # Every name a parameter goes by, tied ones included.
    names = {name: canonical[id(value)] for name, value in model.named_parameters(remove_duplicate=False)}
    # Some checkpoints leave out the prefix of the wrapped base model ("wte.weight" for "transformer.wte.weight").
    short = {name.partition(".")[2]: parameter for name, parameter in names.items()}
    found, shapes = [], {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                parameter = names.get(name) or short.get(name)
                found.append(StoredTensor(name, parameter, path))
                if parameter:
                    shapes[parameter] = list(file.get_slice(name).get_shape())
    for name, value in model.named_parameters():
        if shapes.get(name) != list(value.shape):
            raise InputError(
                f"model: parameter {name} {list(value.shape)} is not a tensor of the checkpoint in {folder} "
                f"(found: {shapes.get(name, 'nothing by that name')}); "
                "models whose weights are fused on loading are not supported yet"
            )
    return found


def checkpoint_dtype(folder: Path, *, trust_remote_code: bool = False) -> torch.dtype:
    """The dtype a checkpoint asks to be run in: its config's, else that of its first floating-point tensor."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    if isinstance(config.dtype, torch.dtype):
        return config.dtype
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if (dtype := file.get_tensor(name).dtype).is_floating_point:
                    return dtype
    raise InputError(f"model: {folder} holds no floating-point tensor")


def floating(tensors: list[StoredTensor]) -> Iterator[StoredTensor]:
    """Those that fill a parameter."""
    return (tensor for tensor in tensors if tensor.parameter is not None)


def _skeleton(folder: Path, trust_remote_code: bool) -> Any:
    """The model without memory for its weights."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    model.tie_weights()
    return model
