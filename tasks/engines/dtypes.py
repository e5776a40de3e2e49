"""The type that weights have while a model runs: what ``engine.dtype: auto`` stands for on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from thickets.storage.models.weights import weight_files
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.engines.devices import cpu_capabilities

# Instructions of which any one multiplies matrices of a type, by the names that PyTorch has for them. A processor
# without them converts every operand: bfloat16 was four times slower than float32 on one with AVX2 alone.
_INSTRUCTIONS: dict[str, tuple[str, ...]] = {
    "bfloat16": ("avx512_bf16", "amx_bf16", "bf16"),
    "float16": ("avx512_fp16", "amx_fp16", "fp16_arith"),
}
_BFLOAT16_SINCE = (8, 0)  # CUDA compute capability
_NAMES: dict[str, DtypeName] = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
}


def resolve_dtype(stored: DtypeName, device: torch.device) -> DtypeName:
    """Return what ``auto`` stands for: a checkpoint's own type where the device computes in it, else float32."""
    return stored if computes_in(stored, device) else "float32"


def computes_in(dtype: DtypeName, device: torch.device) -> bool:
    """Return whether a device has instructions for a type, and need not convert it at every operation."""
    if dtype == "float32":
        return True
    if device.type == "cpu":
        found = cpu_capabilities()
        return any(bool(found.get(name)) for name in _INSTRUCTIONS[dtype])
    if device.type == "cuda" and dtype == "bfloat16":
        return torch.cuda.get_device_capability(device) >= _BFLOAT16_SINCE
    return True


def instructions_for(dtype: DtypeName) -> tuple[str, ...]:
    """Return the processor instructions of which any one computes in a type, by PyTorch's names; none for float32."""
    return _INSTRUCTIONS.get(dtype, ())


def stored_dtype(folder: Path) -> DtypeName:
    """Return a checkpoint's type as Transformers finds it: the config's, else that of its first floating tensor.

    A type that noise is not defined for (float64) is given as float32, in which such a model would have to run.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parts = [config, config.get("text_config") or {}]
    named = next((part[key] for part in parts for key in ("dtype", "torch_dtype") if part.get(key)), None)
    return _NAMES.get(str(named or _first_floating(folder)).removeprefix("torch."), "float32")


def _first_floating(folder: Path) -> str | None:
    """Return the safetensors name of the type of the first tensor that is of one of ours."""
    with safe_open(weight_files(folder)[0], framework="pt") as file:
        types = (str(file.get_slice(name).get_dtype()) for name in file.keys())  # noqa: SIM118
        return next((name for name in types if name in _NAMES), None)
