"""Builds the fingerprint that names shards: equal for runs whose answers are the same (DESIGN.md section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from thickets.storage.fingerprint import fingerprint
from thickets.tasks.engines import EngineSpec, library_versions
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.splits import Split
from thickets.tasks.types import Sampling


def answer_identity(
    *,
    base_sha256: str,
    engine: EngineSpec,
    problem: Problem,
    splits: Iterable[Split],
    template: Template,
    sampling: Sampling,
    examples_per_block: int,
) -> dict[str, Any]:
    """Collect everything that can change a completion or its verdict, and nothing that cannot.

    Candidates per shard, threads and retries are left out; so are the candidates themselves, which is why a population
    can grow. The engine's libraries are named with their versions: a new kernel may flip a token.
    """
    return {
        "base_sha256": base_sha256,
        "perturbation": engine.perturbation.identity(),
        "engine": {
            "kind": engine.kind,
            "device": engine.device.partition(":")[0],
            "dtype": engine.dtype,
            "batch_size": engine.batch_size,
            "libraries": library_versions(engine.kind),
            **({"attention": "grouped"} if (engine.kind, engine.device) == ("transformers", "cpu") else {}),
            **({"max_length": engine.max_length, **asdict(engine.vllm)} if engine.kind == "vllm" else {}),
        },
        "problem": problem.identity(),
        "splits": {split.name: split.sha256 for split in splits},
        "prompt": template.identity(),
        "decoding": {"greedy": True, "max_tokens": sampling.max_tokens, "stop": list(sampling.stop)},
        "examples_per_block": examples_per_block,
    }


def run_id(
    name: str,
    answers: str,
    population: Mapping[str, Any],
    selection: Mapping[str, Any],
    adaptive: Mapping[str, Any] | None = None,
) -> str:
    """Name a run by its answers' fingerprint, its population and its selection rule.

    Args:
        name: The run's name in the configuration.
        answers: The fingerprint.
        population: The section of the configuration.
        selection: The section of the configuration.
        adaptive: The sections that decide which candidate answers which blocks (racing, a budget), if there are any.

    Returns:
        `name` and the first 8 hex digits of the hash, e.g. ``quickstart-3fa9c1d2``.
    """
    # Absent without racing and budget, so that they leave the ids of other runs as they are.
    identity = {"answers": answers, "population": dict(population), "selection": dict(selection), **(adaptive or {})}
    content = fingerprint(identity)
    return f"{name}-{content[:8]}"
