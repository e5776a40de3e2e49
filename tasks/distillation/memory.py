"""Estimates the memory that a training takes, before anything is paid for.

A pure function of the model, the settings and the card. Every figure is an estimate: activations follow the layers'
widths as a gated transformer with fused attention keeps them. No GPU has been measured against it yet.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from thickets.storage.errors import InputError

_USABLE = 0.92  # of a card: its context, the libraries' handles, fragments
_GIB = 1 << 30
_FLOAT_BYTES, _HALF_BYTES = 4, 2
# Per weight that is trained: itself, its gradient, and AdamW's two moments, in float32.
_TRAINED_BYTES = 16
# Per logit: in 16 bits as the model makes it, in float32 as the loss reads it, and the gradient.
_LOGIT_BYTES = 10


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The figures of a model that its training's memory depends on.

    Attributes:
        n_parameters: Weights, tied ones once.
        size_bytes: Of the checkpoint.
        layers: Blocks.
        hidden: Width of the residual stream.
        intermediate: Width of the feed-forward layers.
        vocabulary: Tokens.
    """

    n_parameters: int
    size_bytes: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, folder: Path, n_parameters: int, size_bytes: int) -> ModelShape:
        """Read the shape from a checkpoint's config."""
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= config.get("text_config") or {}
        hidden = int(config.get("hidden_size") or config.get("n_embd") or 0)
        return cls(
            n_parameters,
            size_bytes,
            layers=int(config.get("num_hidden_layers") or config.get("n_layer") or 0),
            hidden=hidden,
            intermediate=int(config.get("intermediate_size") or config.get("n_inner") or 4 * hidden),
            vocabulary=int(config.get("vocab_size") or 0),
        )


def training_bytes(
    shape: ModelShape,
    method: Literal["lora", "full"],
    *,
    rank: int,
    rows: int,
    length: int,
    checkpointing: bool,
) -> int:
    """Estimate the memory of a training step on CUDA, in bytes.

    Args:
        shape: The model.
        method: Adapters on a frozen base in its own type, or all weights in float32 with bfloat16 products.
        rank: Of the adapters.
        rows: Of a batch.
        length: Tokens of the longest row.
        checkpointing: Activations are made again, layer by layer, for the gradients.
    """
    tokens = rows * length
    if method == "full":
        held = shape.n_parameters * (_TRAINED_BYTES + _HALF_BYTES)  # with autocast's copy of the weights
    else:
        widths = shape.layers * (11 * shape.hidden + 3 * shape.intermediate)  # in and out of seven linear layers
        held = shape.size_bytes + _TRAINED_BYTES * rank * widths
    # Inputs of the norms in float32; of the linear layers, the attention and the gate in 16 bits.
    layer = tokens * (3 * _FLOAT_BYTES * shape.hidden + _HALF_BYTES * (6 * shape.hidden + 4 * shape.intermediate))
    between = tokens * _FLOAT_BYTES * shape.hidden
    activations = shape.layers * between + layer if checkpointing else shape.layers * layer
    return held + activations + tokens * shape.vocabulary * _LOGIT_BYTES


def plan_checkpointing(
    shape: ModelShape,
    method: Literal["lora", "full"],
    card_bytes: int,
    *,
    rank: int,
    rows: int,
    length: int,
    section: str = "distillation",
) -> bool:
    """Return whether a training needs gradient checkpointing to fit on a card.

    Args:
        shape: As for `training_bytes`, like `method`, `rank`, `rows` and `length`.
        method: See there.
        card_bytes: Memory of the card.
        rank: See there.
        rows: See there.
        length: See there.
        section: Of the configuration, which asks for it.

    Raises:
        InputError: It would not fit with it either.
    """
    needed = {
        checkpointing: training_bytes(shape, method, rank=rank, rows=rows, length=length, checkpointing=checkpointing)
        for checkpointing in (False, True)
    }
    there = int(_USABLE * card_bytes)
    if needed[False] <= there:
        return False
    if needed[True] <= there:
        return True
    remedy = _remedy(section, method, f"lower {section}.batch_size or decoding.max_tokens")
    raise InputError(
        f"{section}.method: training {_weights(shape)} by {method} in batches of {rows} rows "
        f"of up to {length} tokens needs about {needed[True] / _GIB:.1f} GiB of GPU memory, and "
        f"{there / _GIB:.1f} GiB are there; {remedy}"
    )


def check_host(
    shape: ModelShape, method: Literal["lora", "full"], host_bytes: int, *, rank: int, section: str = "distillation"
) -> None:
    """Check that what a training on the CPU holds all the time fits into a machine; activations are left out.

    Args:
        shape: As for `training_bytes`, like `method` and `rank`.
        method: See there.
        host_bytes: Memory of the machine.
        rank: See there.
        section: Of the configuration, which asks for it.

    Raises:
        InputError: It does not, whatever else is closed.
    """
    in_float32 = replace(shape, size_bytes=_FLOAT_BYTES * shape.n_parameters)
    held = training_bytes(in_float32, method, rank=rank, rows=0, length=0, checkpointing=False)
    if method == "full":
        held -= _HALF_BYTES * shape.n_parameters  # no autocast on the CPU
    if held > host_bytes:
        raise InputError(
            f"{section}.method: training {_weights(shape)} by {method} on the CPU holds {held / _GIB:.1f} GiB of "
            f"weights, gradients and moments, and this machine has {host_bytes / _GIB:.1f} GiB of memory; "
            f"{_remedy(section, method, 'take a smaller model')}"
        )


def _weights(shape: ModelShape) -> str:
    return f"{shape.n_parameters / 1e9:.1f} B weights"


def _remedy(section: str, method: Literal["lora", "full"], otherwise: str) -> str:
    return f"set {section}.method to lora, or {otherwise}" if method == "full" else otherwise
