"""Asks the GPU and the host for their memory, and turns a plan of it into what each engine is given."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal

import torch

from thickets.storage.errors import OutOfMemoryError
from thickets.tasks.engines import vllm_workarounds as workarounds
from thickets.tasks.engines.base import EngineSpec
from thickets.tasks.engines.memory_plan import (
    GIB,
    TOKENS_PER_STEP,
    Card,
    MemoryPlan,
    MemorySettings,
    plan_memory,
)
from thickets.tasks.engines.model_size import measure_model
from thickets.tasks.host_memory import usable_memory_bytes

logger = logging.getLogger(__name__)

_FEW_ROWS = 32  # of a batch; with fewer at a time most of a GPU idles


@dataclass(frozen=True, slots=True)
class VllmMemory:
    """What vLLM is told about memory.

    Attributes:
        options: Arguments of `vllm.LLM`.
        base_copy: Where the untouched base is to be kept.
    """

    options: dict[str, Any]
    base_copy: Literal["device", "host"]


def vllm_memory(spec: EngineSpec, config: Any, dtype: torch.dtype, max_length: int) -> VllmMemory:
    """Plan the memory of a vLLM engine.

    Args:
        spec: The engine, with its device resolved.
        config: The model's, of Transformers.
        dtype: Type of the weights.
        max_length: Most tokens of a row.

    Raises:
        InputError: The model does not fit on the GPU with these settings.
    """
    if spec.device == "cpu":
        room = workarounds.kv_cache_bytes(config, dtype, max_length, spec.batch_size)
        return VllmMemory({"kv_cache_memory_bytes": room}, spec.base_copy)
    plan = _plan(spec, read_card(spec.device), max_length)
    if plan.rows < min(_FEW_ROWS, spec.batch_size):
        logger.warning(
            "the GPU has room for %d rows of %d tokens at a time, of the %d of engine.batch_size: it will idle; "
            "engine.vllm.tensor_parallel divides the model over several",
            plan.rows,
            max_length,
            spec.batch_size,
        )
    options = {
        "kv_cache_memory_bytes": plan.kv_bytes,
        "gpu_memory_utilization": plan.share,  # vLLM starts only where so much is free, and uses it for nothing else
        "max_num_batched_tokens": max(TOKENS_PER_STEP, spec.batch_size),
    }
    return VllmMemory(options, plan.base_copy)


def transformers_base_copy(spec: EngineSpec, device: torch.device) -> Literal["device", "host"]:
    """Plan the memory of a Transformers engine, and return where it keeps the untouched base.

    Raises:
        InputError: The model does not fit on the GPU.
        OutOfMemoryError: It does, but not with so many rows in a batch.
    """
    if device.type != "cuda":
        return spec.base_copy
    plan = _plan(spec, read_card(str(device)), spec.max_length)
    if plan.rows < spec.batch_size and spec.max_length is not None:
        raise OutOfMemoryError(
            f"engine.batch_size: {spec.batch_size} rows of {spec.max_length} tokens do not fit on the GPU, where "
            f"{plan.rows} do ({plan}); lower it"
        )
    return plan.base_copy


def read_card(device: str) -> Card:
    """Return a GPU's memory as its driver reports it."""
    free, total = torch.cuda.mem_get_info(device)
    return Card(total, free, usable_memory_bytes())


def _plan(spec: EngineSpec, card: Card, row_tokens: int | None) -> MemoryPlan:
    settings = MemorySettings(
        kind="vllm" if spec.kind == "vllm" else "transformers",
        batch_size=spec.batch_size,
        row_tokens=row_tokens,
        base_copy=spec.base_copy,
        memory_fraction=spec.vllm.memory_fraction * spec.memory_share,
        tensor_parallel=spec.vllm.tensor_parallel if spec.kind == "vllm" else 1,
        graphs=not spec.vllm.eager,
    )
    plan = plan_memory(card, measure_model(spec), settings)
    logger.info("memory of %s: %s", spec.device, plan)
    if plan.base_copy != spec.base_copy:
        logger.warning(
            "engine.base_copy: beside the model and its batches the GPU has no room for the base, which stays in host "
            "memory; every load copies it over (%.1f GiB)",
            plan.base_bytes / GIB,
        )
    return plan
