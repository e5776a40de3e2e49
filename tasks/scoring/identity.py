"""Builds the two identities of a run: of what is generated, which names shards, and of how it is judged.

Changing a verifier changes the second alone, so that nothing is generated again (docs/design.md#shards).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from thickets.storage.fingerprint import fingerprint
from thickets.tasks.engines import EngineSpec, library_versions
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems.base import Problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.splits import Split
from thickets.tasks.scoring.units import Block
from thickets.tasks.types import Image, ImagePrompt, Sampling

_FRACTION_IN_CPU_IDS = 0.8


def answer_identity(
    *,
    base_sha256: str,
    engine: EngineSpec,
    problem: Problem,
    blocks: Sequence[Block],
    template: Template,
    sampling: Sampling,
    examples_per_block: int,
) -> dict[str, Any]:
    """Collect everything that can change a completion, and nothing that cannot.

    Of the problem that is its prompts, whatever problem they are of. Candidates per shard, threads, memory and retries
    are left out; so are the candidates themselves, which is why a population can grow. The engine's libraries are named
    with their versions: a new kernel may flip a token.
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
            **({"card": engine.card} if engine.card is not None else {}),
            **({"attention": "grouped"} if (engine.kind, engine.device) == ("transformers", "cpu") else {}),
            **({"max_length": engine.max_length, **_vllm_settings(engine)} if engine.kind == "vllm" else {}),
        },
        "questions": _questions(problem, blocks),
        "prompt": template.identity(),
        **_images(blocks, template),
        "decoding": {"greedy": True, "max_tokens": sampling.max_tokens, "stop": list(sampling.stop)},
        **_labels(blocks),
        "examples_per_block": examples_per_block,
    }


def _labels(blocks: Iterable[Block]) -> dict[str, Any]:
    """Return what answers are chosen from and how, where they are not generated."""
    chosen = [(block.split, block.index, block.labels) for block in blocks if block.labels is not None]
    if not chosen:
        return {}
    rows = [
        [split, index, [[asdict(label) for label in each] for each in of.of_prompts]] for split, index, of in chosen
    ]
    return {"labels": {"version": 1, "gap": chosen[0][2].gap, "per": chosen[0][2].per, "sha256": _sha256(rows)}}


def _images(blocks: Sequence[Block], template: Template) -> dict[str, Any]:
    """Return how images are read, where prompts have any; what they show is among the questions."""
    has_images = any(isinstance(prompt, ImagePrompt) for block in blocks for prompt in block.prompts)
    return {"images": template.image_identity()} if has_images else {}


def _vllm_settings(engine: EngineSpec) -> dict[str, Any]:
    """Return vLLM's settings but for the share of a GPU's memory, which must be free to change in the middle of a run.

    On the CPU nothing reads that share. It stands there as it did when it counted, so that runs keep their ids.
    """
    settings = asdict(engine.vllm)
    del settings["memory_fraction"]
    return settings | ({"memory_fraction": _FRACTION_IN_CPU_IDS} if engine.device == "cpu" else {})


def judgement_identity(judge: Judge, splits: Iterable[Split]) -> dict[str, Any]:
    """Collect everything that can change the verdict on a completion: the judge, and gold answers with metadata."""
    return {"judge": judge.identity(), "gold": {split.name: _gold_sha256(split) for split in splits}}


def run_id(
    name: str,
    answers: str,
    verdicts: str,
    population: Mapping[str, Any],
    selection: Mapping[str, Any],
    adaptive: Mapping[str, Any] | None = None,
) -> str:
    """Name a run by the fingerprints of its answers and verdicts, its population and its selection rule.

    Args:
        name: The run's name in the configuration.
        answers: The fingerprint of the answers.
        verdicts: The fingerprint of the judgement.
        population: The section of the configuration.
        selection: The section of the configuration.
        adaptive: The sections that decide which candidate answers which blocks (racing, a budget), if there are any.

    Returns:
        `name` and the first 8 hex digits of the hash, e.g. ``quickstart-3fa9c1d2``.
    """
    # Absent without racing and budget, so that they leave the ids of other runs as they are.
    identity = {
        "answers": answers,
        "verdicts": verdicts,
        "population": dict(population),
        "selection": dict(selection),
        **(adaptive or {}),
    }
    content = fingerprint(identity)
    return f"{name}-{content[:8]}"


def _questions(problem: Problem, blocks: Iterable[Block]) -> dict[str, str]:
    """Hash the rendered prompts of each split, in their blocks.

    With the messages and questions that they were made from: the prompts of other wordings, which are not here, are
    made from those too.
    """
    rows: dict[str, list[Any]] = {}
    for block in blocks:
        asked = zip(block.examples, block.prompts, strict=True)
        rows.setdefault(block.split, []).append(
            [[example.id, example.question, problem.messages(example), prompt] for example, prompt in asked]
        )
    return {split: _sha256(of_split) for split, of_split in rows.items()}


def _gold_sha256(split: Split) -> str:
    return _sha256([[example.id, example.answer, example.metadata] for example in split.examples])


def _sha256(rows: list[Any]) -> str:
    canonical = json.dumps(rows, sort_keys=True, separators=(",", ":"), default=_canonical)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return what of an image counts: its content, wherever it lies and whatever it is called."""
    match value:
        case Image():
            return {"image": value.sha256}
        case ImagePrompt():
            return {"text": value.text, "image": value.image.sha256}
    raise TypeError(f"{type(value).__name__} has no canonical form")
