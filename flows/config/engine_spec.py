"""From the engine's section of a configuration to what an engine is started with."""

from __future__ import annotations

from pathlib import Path

from thickets.flows.config.engine import EngineConfig
from thickets.tasks.engines import EngineSpec, VllmOptions
from thickets.tasks.noise import Perturbation


def engine_spec(engine: EngineConfig, model: Path, perturbation: Perturbation) -> EngineSpec:
    """Return the spec that a configuration asks for; what depends on the questions (batch, lengths) has its defaults.

    Args:
        engine: The section.
        model: Folder of the base checkpoint.
        perturbation: What candidates change.
    """
    return EngineSpec(
        kind=engine.kind,
        model_path=model,
        perturbation=perturbation,
        device=engine.device,
        dtype=engine.dtype,
        threads=engine.threads,
        trust_remote_code=engine.trust_remote_code,
        prefetch=engine.prefetch,
        base_copy=engine.base_copy,
        vllm=VllmOptions(**engine.vllm.model_dump()),
    )
