"""What has to be known of vLLM's own layers before candidates are written past its loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from thickets.tasks.engines.vllm_destinations import NotPlainError


@contextmanager
def checkpoint_layout(model: torch.nn.Module) -> Iterator[None]:
    """Put back, without content, the parameters that vLLM emptied after it had packed them; undone at the end."""
    from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info
    from vllm.model_executor.model_loader.reload.meta import to_meta_tensor
    from vllm.model_executor.model_loader.reload.sanitize import restore_layer_refs

    emptied: list[tuple[torch.nn.Module, str, Any]] = []
    try:
        for module in model.modules():
            described = get_layerwise_info(module).restore_metadata[0]
            for leaf, parameter in list(module.named_parameters(recurse=False)):
                if parameter.numel() == 0 and leaf in described:
                    emptied.append((module, leaf, parameter))
                    module._parameters[leaf] = restore_layer_refs(to_meta_tensor(described[leaf]), module)
        yield
    finally:
        for module, leaf, parameter in emptied:
            module._parameters[leaf] = parameter


def check_derived(model: torch.nn.Module) -> None:
    """Refuse a model that keeps data computed from its weights, packed copies of linear layers on the CPU aside.

    Raises:
        NotPlainError: The first such module.
    """
    from vllm.model_executor.layers.attention import Attention, MMEncoderAttention
    from vllm.model_executor.layers.linear import UnquantizedLinearMethod
    from vllm.model_executor.layers.quantization.base_config import QuantizeMethodBase
    from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod
    from vllm.v1.attention.backend import AttentionImplBase

    plain = [_processing(kind) for kind in (UnquantizedLinearMethod, UnquantizedEmbeddingMethod, QuantizeMethodBase)]
    for name, module in model.named_modules():
        method = getattr(module, "quant_method", None)
        if method is not None and _processing(type(method)) not in plain:
            raise NotPlainError(f"{name}: {type(method).__name__} computes data of its own from the weights")
        if _processing(type(module)) is None:
            continue
        if isinstance(module, MMEncoderAttention) and not module.fp8_enabled:
            continue  # of a vision tower: it makes scales for 8 bits, and nothing else
        impl = getattr(module, "impl", None)
        is_plain = _processing(type(module)) is _processing(Attention) and (
            _processing(type(impl)) is _processing(AttentionImplBase) or getattr(impl, "_sinks_source", impl) is None
        )
        if not is_plain:
            raise NotPlainError(f"{name}: {type(module).__name__} computes data of its own from the weights")


def only_embeddings(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the embeddings that no output layer uses: nothing reads the packed copy that vLLM makes of them."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding

    uses: dict[torch.nn.Module, int] = {}
    for _, module in model.named_modules(remove_duplicate=False):
        uses[module] = uses.get(module, 0) + 1
    return [
        module
        for module, count in uses.items()
        if isinstance(module, VocabParallelEmbedding) and not isinstance(module, ParallelLMHead) and count == 1
    ]


def _processing(kind: type) -> Callable[..., Any] | None:
    return getattr(kind, "process_weights_after_loading", None)
