"""Inspects a checkpoint's tensors as Transformers sees them: names, types and ties, without loading them.

The noise contract is about the tensors of the checkpoint under the names of the model's parameters. The Transformers
engine gets both from Transformers. Code that reads the files directly (vLLM's worker, the export) calls
`inspect_checkpoint`, which loads onto the meta device, so that tensors have everything but content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from thickets.storage.errors import InputError
from thickets.tasks.engines.auto_class import auto_class
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.engines.candidate_weights import noise_dtype
from thickets.tasks.engines.model_files import broken_files
from thickets.tasks.engines.stored_names import StoredNames, stored_names
from thickets.tasks.noise import Perturbation


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a checkpoint file.

    Attributes:
        name: Its name in the file.
        file: The safetensors file that holds it.
        dtype: Its type once it is loaded; None for one that the model ignores.
        parameter: The parameter it ends up in, by its canonical name; tied tensors share one. None for any other.
    """

    name: str
    file: Path
    dtype: torch.dtype | None
    parameter: str | None

    def read(self) -> torch.Tensor:
        """Read the tensor in the type in which it is loaded, in memory of its own."""
        with safe_open(self.file, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(self.name)
        return tensor.to(self.dtype or tensor.dtype, copy=True).contiguous()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as Transformers sees it.

    Attributes:
        dtype: Type of the whole, as the loaded model's config names it.
        tensors: Every tensor of its files, file by file.
        shapes: Of parameters, by their canonical names.
        names: The names of tensors, parameters and noise.
        held_apart: Parameters that the config ties to another, but whose stored content differs from that one's;
            Transformers does not tie them.
    """

    dtype: torch.dtype
    tensors: tuple[StoredTensor, ...]
    shapes: dict[str, tuple[int, ...]]
    names: StoredNames
    held_apart: tuple[str, ...]

    def perturbed(self, perturbation: Perturbation) -> dict[str, str]:
        """Map the names of the stored tensors that a candidate changes to the name of the noise that each gets.

        Raises:
            InputError: There are none, or noise is not defined for one.
        """
        found, noise_names = {}, self.names.perturbed(perturbation)
        for tensor in self.tensors:
            if tensor.parameter in noise_names:
                noise_dtype(torch.empty(0, dtype=tensor.dtype), tensor.parameter)
                found[tensor.name] = noise_names[tensor.parameter]
        if not found:
            raise InputError("noise.include/exclude: the patterns leave no parameter of this model to perturb")
        return found

    def n_perturbed(self, perturbation: Perturbation) -> int:
        """Count the weights that a candidate changes; a tied tensor counts once."""
        return sum(prod(self.shapes[name]) for name in self.names.perturbed(perturbation))


def inspect_checkpoint(folder: Path, dtype: DtypeName = "auto", *, trust_remote_code: bool = False) -> Checkpoint:
    """Load a checkpoint onto the meta device and describe its tensors.

    Args:
        folder: The checkpoint.
        dtype: Type to run it in.
        trust_remote_code: Run Python code found in the folder.

    Raises:
        InputError: A parameter of the model is not a tensor of the checkpoint, so its noise would not be defined.
    """
    model = _without_content(folder, dtype, trust_remote_code=trust_remote_code)
    held, keys = model.state_dict(), stored_names(model, folder).keys
    tensors = {name: StoredTensor(name, file, held[key].dtype, None) for name, (file, key) in keys.items() if key}
    held_apart = _tie_equal_copies(model, {key: tensors[name] for name, (_, key) in keys.items() if key})
    names = stored_names(model, folder)  # once more: what is tied now is one parameter
    return Checkpoint(
        dtype=model.config.dtype,
        tensors=tuple(
            StoredTensor(name, file, held[key].dtype if key else None, names.parameters.get(name))
            for name, (file, key) in keys.items()
        ),
        shapes={name: tuple(parameter.shape) for name, parameter in model.named_parameters()},
        names=names,
        held_apart=tuple(held_apart),
    )


def check_weights_fit(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Check that a checkpoint's weights are those of the model that its config describes, by names and shapes alone.

    Raises:
        InputError: They are not, or the config describes none that writes text.
    """
    stored_names(_without_content(folder, "auto", trust_remote_code=trust_remote_code), folder)


def _without_content(folder: Path, dtype: DtypeName, *, trust_remote_code: bool) -> Any:
    """Load a checkpoint onto the meta device."""
    with broken_files("its weights", folder, passing=(OSError,)):
        return auto_class(folder, trust_remote_code=trust_remote_code).from_pretrained(
            folder,
            device_map="meta",
            dtype="auto" if dtype == "auto" else getattr(torch, dtype),
            trust_remote_code=trust_remote_code,
            use_safetensors=True,
            local_files_only=True,
        )


def max_positions(folder: Path, *, trust_remote_code: bool = False) -> int | None:
    """Return the most tokens, prompt and answer together, that the config allows; None where it does not say."""
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def vocabulary_size(folder: Path, *, trust_remote_code: bool = False) -> int | None:
    """Return the number of tokens that the config names; None where it does not say."""
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    return getattr(config.get_text_config(), "vocab_size", None)


def _tie_equal_copies(model: Any, stored: dict[str, StoredTensor]) -> Iterable[str]:
    """Tie what the config ties and the checkpoint nevertheless holds twice, and return the names whose content differs.

    Transformers decides by content whether to tie such a pair, and the meta device has none.
    """
    held_apart = []
    for target, source in model.all_tied_weights_keys.items():
        if target not in stored or source not in stored:
            continue  # tied already
        if torch.equal(stored[target].read(), stored[source].read()):
            owner, _, leaf = target.rpartition(".")
            setattr(model.get_submodule(owner), leaf, model.get_parameter(source))
        else:
            held_apart.append(target)
    return held_apart
