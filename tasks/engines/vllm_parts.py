"""What a vLLM model computes with, part by part under the checkpoint's names: for checksums of what it holds.

vLLM fuses tensors of the checkpoint into one parameter, and on the CPU it packs them into memory of its own that
nobody can read. Such a layer is known by what it answers to a fixed input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

_LARGEST_OWN = 16  # elements of a parameter that is no tensor of the checkpoint


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of the checkpoint as the model holds it, or what a packed layer makes of a fixed input.

    Attributes:
        name: The parameter's name in vLLM, with the checkpoint's leaf where several are fused.
        value: Its content, or the layer's output.
        source: Of a layer that uses another's weight: the name of that one. Else `name`.
        numel: Weights behind it.
        is_answer: `value` is an output.
    """

    name: str
    value: torch.Tensor
    source: str
    numel: int
    is_answer: bool = False


def parts(model: Any) -> Iterator[Part]:
    """Yield every parameter of a vLLM model, each tensor of the checkpoint apart, and every packed layer's output."""
    fused: dict[str, list[str]] = getattr(model, "packed_modules_mapping", None) or {}
    owners: dict[int, str] = {}
    for prefix, module in model.named_modules():
        packed = hasattr(module, "cpu_linear") and hasattr(module, "quant_method")
        for leaf, parameter in module.named_parameters(recurse=False):
            name = f"{prefix}.{leaf}"
            if not parameter.numel():  # packed, and its own memory given back
                continue
            owner = owners.setdefault(parameter.data_ptr(), name)
            if owner == name:
                yield from _split(module, name, parameter.data, fused, parameter.numel())
        if packed:
            yield from _packed(module, f"{prefix}.weight", fused, owners)


def sources(model: Any, stored: Iterable[str]) -> list[tuple[Part, str | None]]:
    """Return every part of a model with the stored tensor that it is made from; None where that is not known.

    Args:
        model: vLLM's.
        stored: The checkpoint's names.
    """
    known = {_name_in_vllm(model, name): name for name in stored}
    return [(part, known.get(part.name, known.get(part.source))) for part in parts(model)]


def expected_changes(model: Any, stored: dict[str, bool]) -> dict[str, bool]:
    """Tell of the parts of a model whether a candidate changes them; one of which that is not known is absent.

    Args:
        model: vLLM's.
        stored: By the checkpoint's names, whether a candidate changes a tensor.
    """
    found = {}
    for part, name in sources(model, stored):
        if name is not None:
            found[part.name] = stored[name]
        # Whatever vLLM calls it; but what it made up itself (the scales of attention) is small.
        elif all(stored.values()) and part.numel > _LARGEST_OWN:
            found[part.name] = True
    return found


def _packed(module: Any, name: str, fused: dict[str, list[str]], owners: dict[int, str]) -> Iterator[Part]:
    """Yield what a packed layer answers; where its weight is kept beside the packed one, under another name."""
    keeps_weight = module.weight.numel() > 0
    source = owners.get(module.weight.data_ptr(), name) if keeps_weight else None
    for part in _split(module, name, _answer(module), fused, _width(module)):
        shown = f"{part.name} (packed)" if source == name else part.name
        yield replace(part, name=shown, source=source or part.name, is_answer=True)


def _split(module: Any, name: str, value: torch.Tensor, fused: dict[str, list[str]], numel: int) -> Iterator[Part]:
    """Yield the tensors that are fused in one, by rows (of an output: by columns), or the one that it is."""
    sizes = list(getattr(module, "output_partition_sizes", ()))
    axis = value.ndim - 1 if value.shape[:1] == (1,) else 0
    if len(sizes) < 2 or sum(sizes) != value.shape[axis]:
        yield Part(name, value, name, numel)
        return
    path, _, leaf = name.rpartition(".")
    owner, _, last = path.rpartition(".")
    names = fused.get(last, ())
    for place, piece in enumerate(torch.split(value, sizes, axis)):
        own = f"{owner}.{names[place]}.{leaf}" if len(names) == len(sizes) else f"{name}.{place}"
        yield Part(own, piece, own, numel * sizes[place] // sum(sizes))


def _answer(module: Any) -> torch.Tensor:
    """Return what a packed linear layer makes of one fixed row, without its bias: ``[1, outputs]``."""
    generator = torch.Generator().manual_seed(0)
    row = torch.randn(1, _width(module), generator=generator).to(module.weight.dtype)
    with torch.inference_mode():
        answer: torch.Tensor = module.cpu_linear(row, module.weight, None)
    return answer


def _width(module: Any) -> int:
    """Return the inputs of a linear layer or of an output layer."""
    return int(getattr(module, "input_size_per_partition", None) or module.embedding_dim)


def _name_in_vllm(model: Any, stored: str) -> str:
    """Return the name that vLLM's own mapping gives a stored tensor, before any are fused."""
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    if mapper is None:
        return stored
    return replace(mapper, orig_to_new_stacked={}).map_name(stored) or stored
