"""Finds the parameter that each tensor of a checkpoint ends up in, and the name that its noise goes by.

Transformers renames tensors while it loads them: a checkpoint of Gemma 3 stores ``language_model.model.norm.weight``,
and the model has ``model.language_model.norm.weight``. Its own table of renames is followed here, step by step as its
loader does. Noise goes by the name in the checkpoint, which stays what it is when the library renames again. What
Transformers makes of several tensors, or of one in another form, is no tensor of the checkpoint and has no noise.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

from thickets.storage.errors import InputError
from thickets.storage.models.weights import weight_files
from thickets.tasks.noise import Perturbation


@dataclass(frozen=True, slots=True)
class StoredNames:
    """Names of a checkpoint's tensors beside those of a model's parameters.

    Attributes:
        keys: Every stored tensor's file, and its name in the model's state if it is plainly copied there; file by file.
        parameters: The parameter of each stored tensor that is plainly copied, by the parameter's canonical name.
        noise_names: What the noise of a parameter goes by: its canonical name, or where Transformers renames it, that
            of the checkpoint.
        without_noise: Why a parameter is no tensor of the checkpoint, as a message; those of vision towers alone,
            because any other would have been refused.
    """

    keys: dict[str, tuple[Path, str | None]]
    parameters: dict[str, str]
    noise_names: dict[str, str]
    without_noise: dict[str, str]

    def perturbed(self, perturbation: Perturbation) -> dict[str, str]:
        """Map the parameters that a candidate changes to the names of their noise.

        Raises:
            InputError: One of them is no tensor of the checkpoint, so its noise is not defined.
        """
        for parameter, why in self.without_noise.items():
            if perturbation.selects(parameter):
                raise InputError(f"{why}; leave it out with noise.exclude")
        return {parameter: name for parameter, name in self.noise_names.items() if perturbation.selects(name)}


def stored_names(model: Any, folder: Path) -> StoredNames:
    """Match a checkpoint's tensors with the parameters of the model that Transformers made of them.

    Args:
        model: On any device, the meta device included.
        folder: The checkpoint.

    Raises:
        InputError: The first parameter, those of a vision tower aside, that is no tensor of the checkpoint: it would
            get other noise under one engine than under another.
    """
    keys, made_of = _keys(model, folder)
    canonical = {id(parameter): name for name, parameter in model.named_parameters()}  # a tied one once
    every = dict(model.named_parameters(remove_duplicate=False))
    prefix = model.base_model_prefix
    parameters: dict[str, str] = {}
    noise_names: dict[str, str] = {}
    shapes: dict[str, list[int]] = {}
    for name, (file, key) in keys.items():
        if key not in every:
            continue
        parameter = parameters[name] = canonical[id(every[key])]
        with safe_open(file, framework="pt") as opened:
            shapes[parameter] = list(opened.get_slice(name).get_shape())
        # Some checkpoints leave out the prefix of the wrapped base model: that is the same name.
        is_renamed = key not in (name, f"{prefix}.{name}") and name != f"{prefix}.{key}"
        goes_by = name if is_renamed else parameter
        if key == parameter:
            noise_names[parameter] = goes_by
        else:
            noise_names.setdefault(parameter, goes_by)
    without_noise = {}
    for name, parameter in model.named_parameters():
        if shapes.get(name) == list(parameter.shape):
            continue
        why = _reason(name, list(parameter.shape), shapes.get(name), made_of.get(name), folder)
        if Perturbation().selects(name):
            raise InputError(why)
        without_noise[name] = why
        noise_names.pop(name, None)
    plain = {name: parameter for name, parameter in parameters.items() if parameter not in without_noise}
    return StoredNames(keys, plain, noise_names, without_noise)


def _reason(name: str, shape: list[int], found: list[int] | None, made_of: _MadeOf | None, folder: Path) -> str:
    if made_of is None:
        there = found or "nothing by that name"
        return f"model: parameter {name} {shape} is not a tensor of the checkpoint in {folder} (found: {there})"
    n = len(made_of.names)
    several = f"{n} tensors, {made_of.names[0]} and so on" if n > 1 else made_of.names[0]
    return (
        f"model: parameter {name} {shape} is not a tensor of the checkpoint in {folder}: Transformers makes it of "
        f"{several}, on loading ({', '.join(made_of.operations)}). Noise belongs to a tensor as it is stored; "
        "models whose tensors are merged or split on loading, as in most mixtures of experts, are not supported"
    )


@dataclass(frozen=True, slots=True)
class _MadeOf:
    """What a parameter is made of that is not plainly copied."""

    names: list[str]
    operations: list[str]


def _keys(model: Any, folder: Path) -> tuple[dict[str, tuple[Path, str | None]], dict[str, _MadeOf]]:
    """Follow Transformers' loader from stored names to those of the model's state.

    Returns:
        The file of every stored tensor, with its name in the state if it is plainly copied there; and by name in the
        state what all others are made of.
    """
    transforms = get_model_conversion_mapping(model)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    held, prefix = model.state_dict(), model.base_model_prefix
    files: dict[str, Path] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            files |= dict.fromkeys(file.keys(), path)
    found: dict[str, str | None] = {}
    names: dict[str, list[str]] = defaultdict(list)
    operations: dict[str, list[str]] = {}
    for name in sorted(files, key=dot_natural_key):  # the loader's order: some renames depend on what came before
        key, pattern = rename_source_key(name, renamings, converters, prefix, held)
        if key not in held and name in held:
            key, pattern = rename_source_key(name, [], [], prefix, held)
        found[name] = key if key in held and pattern is None else None
        if pattern is not None:
            converter = by_pattern[pattern]
            for target in converter.target_patterns:
                made = key.replace(converter.target_patterns[0], target)
                names[made].append(name)
                operations[made] = [type(operation).__name__ for operation in converter.operations]
    keys = {name: (file, found[name]) for name, file in files.items()}
    return keys, {made: _MadeOf(names[made], operations[made]) for made in names}
