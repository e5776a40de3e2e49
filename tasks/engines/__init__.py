"""Engines: load a candidate, answer prompts."""

from __future__ import annotations

from dataclasses import replace

from storage.errors import InputError
from tasks.engines.base import Engine, EngineSpec

__all__ = ["Engine", "EngineSpec", "build_engine", "resolve_spec"]


def resolve_spec(spec: EngineSpec) -> EngineSpec:
    """Replace ``auto`` as engine and device by what this machine has.

    Raises:
        InputError: The device named is not one, or is not here.
    """
    from tasks.engines.transformers import pick_device  # imports torch: seconds

    kind = "transformers" if spec.kind == "auto" else spec.kind
    return replace(spec, kind=kind, device=str(pick_device(spec.device)))


def build_engine(spec: EngineSpec) -> Engine:
    """Build the engine a resolved spec describes.

    Raises:
        InputError: The kind is unknown, or the model cannot be used.
    """
    if spec.kind == "transformers":
        from tasks.engines.transformers import TransformersEngine

        return TransformersEngine(spec)
    raise InputError(f"engine.kind: {spec.kind!r} is unknown; use auto or transformers")
