"""Memory that an engine took on a card, against what it must take and against what is planned for it."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu_seen import Seen
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.memory_plan import Card, MemorySettings, plan_memory
from thickets.tasks.engines.model_size import measure_model

_PRETENDED_BYTES = 80 << 30  # a card, where there is none


def report_memory(seen: Seen, spec: EngineSpec, model: Any, device: torch.device, row_tokens: int) -> None:
    """Note the engine's weights, and on CUDA the peak since its start, with the plan of its memory.

    Args:
        seen: Takes the rows.
        spec: The engine's.
        model: Its model.
        device: Where it is.
        row_tokens: Most tokens of a prompt and its answer.
    """
    weights_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    seen.note("weights", _gib(weights_bytes), "and once more for the base")
    if device.type != "cuda":
        planned = _planned_bytes(spec, _PRETENDED_BYTES, row_tokens)
        seen.note("peak memory", "on a CUDA device only", f"{_gib(planned)} planned on a card of 80 GiB")
        return
    planned = _planned_bytes(spec, torch.cuda.get_device_properties(device).total_memory, row_tokens)
    peak_bytes = torch.cuda.max_memory_allocated(device)
    seen.check("peak memory", peak_bytes <= planned, _gib(peak_bytes), f"{_gib(planned)} planned at most")
    seen.note("peak, less weights and base", _gib(peak_bytes - 2 * weights_bytes), "keys, values, activations")
    seen.note("reserved from the driver", _gib(torch.cuda.max_memory_reserved(device)))


def _planned_bytes(spec: EngineSpec, card_bytes: int, row_tokens: int) -> int:
    """Return what the plan gives to PyTorch on a card of this size: all but the context of CUDA."""
    settings = MemorySettings("transformers", spec.batch_size, row_tokens, spec.base_copy)
    plan = plan_memory(Card(card_bytes, card_bytes), measure_model(spec), settings)
    return plan.fixed_bytes - plan.own_bytes + plan.kv_bytes


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
