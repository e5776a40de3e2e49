"""Settles the factors of a model's parameters on sigma: patterns are checked, and a rule becomes factors."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from thickets.storage.errors import InputError
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.engines.model_kinds import kind_of
from thickets.tasks.noise import Perturbation
from thickets.tasks.noise.patterns import simplified
from thickets.tasks.noise.rule import Measured, Rule, balanced, count_bfloat16, mean_square

if TYPE_CHECKING:
    import torch

_PIECE_LEN = 1 << 22  # weights that are counted at a time
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Parameter:
    name: str
    shape: tuple[int, ...]
    is_vocabulary: bool
    read: Callable[[], torch.Tensor]


def settled(
    perturbation: Perturbation, rule: Rule | None, base: BaseModelRef, *, trust_remote_code: bool = False
) -> Perturbation:
    """Return the perturbation with every factor written out, those that change nothing left out.

    Args:
        perturbation: With the patterns of the configuration, which come before what the rule says.
        rule: Gives factors to the parameters that no pattern matches.
        base: The model.
        trust_remote_code: Run Python code found in its folder.

    Raises:
        InputError: A pattern matches no parameter, or the rule cannot be used.
    """
    if not perturbation.scale and rule is None:
        return perturbation  # and the checkpoint is not looked at
    names = _names(base.path, base.sha256, trust_remote_code=trust_remote_code)
    for pattern, _ in perturbation.scale:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(_unmatched(pattern, names))
    scale = perturbation.scale
    if rule is not None:
        free = {
            name
            for name in names
            if perturbation.selects(name) and not any(fnmatchcase(name, pattern) for pattern, _ in scale)
        }
        if not free:
            raise InputError(
                "noise.rule: found no parameter to give a factor to; each is left out by noise.include/exclude or "
                "matched by noise.scale"
            )
        every = _measured(base.path, base.sha256, trust_remote_code=trust_remote_code)
        factors = balanced([each for each in every if each.name in free])
        scale = (*scale, *((glob.escape(name), factor) for name, factor in factors.items()))
    found = replace(perturbation, scale=tuple(simplified(scale)))
    if not any(found.selects(name) for name in names):
        raise InputError("noise.scale: the factors leave no parameter of this model to perturb; one must be above 0")
    return found


def _unmatched(pattern: str, names: Sequence[str]) -> str:
    """Say that a pattern matches nothing, and what it may have meant."""
    words = list(dict.fromkeys(word for name in names for word in name.split(".")))
    wanted = [word for word in pattern.replace("*", ".").split(".") if word]
    near = dict.fromkeys(one for word in wanted for one in difflib.get_close_matches(word, words, _MOST_NAMED))
    shown = ", ".join(list(near)[:_MOST_NAMED])
    matched = [name for name in names if any(word in near for word in name.split("."))] or names
    return (
        f"noise.scale: found the pattern {pattern!r}, which matches no parameter of this model"
        + (f"; near to it are {shown}" if near else "")
        + f", as in {', '.join(matched[:_MOST_NAMED])} (* stands for any characters, dots included)"
    )


@lru_cache(maxsize=4)
def _names(folder: Path, sha256: str, *, trust_remote_code: bool) -> tuple[str, ...]:
    return tuple(parameter.name for parameter in _parameters(folder, trust_remote_code=trust_remote_code))


@lru_cache(maxsize=4)
def _measured(folder: Path, sha256: str, *, trust_remote_code: bool) -> tuple[Measured, ...]:
    """Read the weights, a tensor at a time; once per model, as several problems are searched around one."""
    return tuple(
        Measured(each.name, each.shape, _mean_square(each), each.is_vocabulary)
        for each in _parameters(folder, trust_remote_code=trust_remote_code)
    )


def _mean_square(parameter: _Parameter) -> float:
    import torch

    counts = np.zeros(1 << 16, np.int64)
    for piece in parameter.read().detach().reshape(-1).split(_PIECE_LEN):
        bits = piece.float().to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
        counts += count_bfloat16(bits)
    return mean_square(counts, parameter.name)


def _parameters(folder: Path, *, trust_remote_code: bool) -> Iterable[_Parameter]:
    """Yield the parameters that noise is defined for, by the names of their noise, a tied one once."""
    if not kind_of(folder).is_language_model:
        from thickets.tasks.signals.network import load_network

        for name, parameter in load_network(folder).named_parameters():
            yield _Parameter(name, tuple(parameter.shape), False, lambda found=parameter: found)  # type: ignore[misc]
        return
    from thickets.tasks.engines.checkpoint import inspect_checkpoint, vocabulary_size  # PyTorch: seconds

    checkpoint = inspect_checkpoint(folder, trust_remote_code=trust_remote_code)
    n_tokens = vocabulary_size(folder, trust_remote_code=trust_remote_code)
    yielded: set[str] = set()
    for tensor in checkpoint.tensors:
        noise_name = checkpoint.names.noise_names.get(tensor.parameter or "")
        if tensor.parameter is None or noise_name is None or noise_name in yielded:
            continue
        yielded.add(noise_name)
        shape = checkpoint.shapes[tensor.parameter]
        yield _Parameter(noise_name, shape, len(shape) == 2 and shape[0] == n_tokens, tensor.read)
