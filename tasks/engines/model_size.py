"""Measures a checkpoint for `thickets.tasks.engines.memory_plan`: from its config and its files' headers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig

from thickets.storage.models.weights import tensor_shapes
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.dtypes import stored_dtype

_FLOAT32_BYTES, _HALF_BYTES = 4, 2


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What a model takes in memory, in bytes of the type that it runs in, or counted.

    Attributes:
        item_bytes: Bytes of one weight.
        weights_bytes: All tensors of the checkpoint; one that is stored twice counts twice.
        largest_bytes: Its largest tensor.
        n_layers: Layers that keep keys and values.
        n_kv_heads: Heads of keys and values per layer.
        head_dim: Width of a head.
        hidden: Width of the model.
        intermediate: Width of its feed-forward layers.
        vocabulary: Number of its tokens.
    """

    item_bytes: int
    weights_bytes: int
    largest_bytes: int
    n_layers: int
    n_kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocabulary: int

    def kv_token_bytes(self, n_gpus: int = 1) -> int:
        """Keys and values of one token on each of the GPUs that share the heads; each has at least one head."""
        return 2 * self.n_layers * -(-self.n_kv_heads // n_gpus) * self.head_dim * self.item_bytes


def measure_model(spec: EngineSpec) -> ModelSize:
    """Measure the checkpoint of a spec.

    Raises:
        InputError: The weights are absent or broken.
    """
    dtype = stored_dtype(spec.model_path) if spec.dtype == "auto" else spec.dtype
    config = AutoConfig.from_pretrained(
        spec.model_path, trust_remote_code=spec.trust_remote_code, local_files_only=True
    )
    item_bytes = _FLOAT32_BYTES if dtype == "float32" else _HALF_BYTES
    return size_of(config, tensor_shapes(spec.model_path), item_bytes)


def size_of(config: Any, shapes: Mapping[str, Sequence[int]], item_bytes: int) -> ModelSize:
    """Compute the size of a model.

    Args:
        config: A config of Transformers, which fills in what config.json leaves out.
        shapes: Shape of every stored tensor, by name.
        item_bytes: Bytes of one weight as it runs.
    """
    text = config.get_text_config()
    counts = [math.prod(shape) for shape in shapes.values()]
    return ModelSize(
        item_bytes=item_bytes,
        weights_bytes=sum(counts) * item_bytes,
        largest_bytes=max(counts) * item_bytes,
        n_layers=text.num_hidden_layers,
        n_kv_heads=getattr(text, "num_key_value_heads", None) or text.num_attention_heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        vocabulary=text.vocab_size,
    )
