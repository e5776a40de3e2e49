"""Memory that an engine took on a card, against what it must take and against what is planned for it."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.gpu_seen import Seen
from thickets.tasks.engines.base import EngineSpec


def report_memory(seen: Seen, spec: EngineSpec, model: Any, device: torch.device, max_tokens: int) -> None:
    """Note the engine's weights, and on CUDA the peak since its start beside the plan of its memory."""
    weights_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    seen.note("weights", _gib(weights_bytes), "and once more for the base")
    if device.type != "cuda":
        seen.note("peak memory", "not measured", "on a CUDA device only")
        return
    peak_bytes = torch.cuda.max_memory_allocated(device)
    reserved_bytes = torch.cuda.max_memory_reserved(device)
    seen.note("peak memory", _gib(peak_bytes), f"{_gib(reserved_bytes)} reserved from the driver")
    seen.note("peak, less weights and base", _gib(peak_bytes - 2 * weights_bytes), "keys, values, activations")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.2f} GiB"
