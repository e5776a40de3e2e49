"""Checks before anything is paid for whether a model can be trained by GRPO on a problem, and sampled as asked."""

from __future__ import annotations

from pathlib import Path

from thickets.storage.errors import InputError
from thickets.tasks.distillation.training import check_can_learn, check_installed
from thickets.tasks.problems import Problem
from thickets.tasks.problems.base import chooses
from thickets.tasks.rivals.grpo.settings import Generation


def check_grpo(name: str, base: Path, problem: Problem) -> None:
    """Check that a model can be trained on a problem by GRPO.

    Args:
        name: What the user calls the model.
        base: Folder of its checkpoint.
        problem: The problem.

    Raises:
        InputError: It cannot.
    """
    check_installed("rivals.grpo")
    check_can_learn(name, base, "rivals.grpo")
    if chooses(problem):
        raise InputError(
            f"rivals.grpo: {problem.name} chooses among labels by their likelihood, so that no answer is sampled to "
            "learn from; remove the section, or set problem.scoring to generate"
        )


def check_generation(generation: Generation, device: str) -> None:
    """Check that samples can be made as the settings say.

    Args:
        generation: What is to make them.
        device: Where the model is trained.

    Raises:
        InputError: They cannot.
    """
    if generation == "transformers":
        return
    from importlib.util import find_spec

    if not device.startswith("cuda"):
        raise InputError(
            f"rivals.grpo.generation is vllm, but the model is trained on {device}; TRL runs vLLM beside the trainer "
            "on a CUDA GPU alone, so take transformers"
        )
    if find_spec("vllm") is None:
        raise InputError(
            "rivals.grpo.generation is vllm, which is not installed; install the extra thickets[vllm], or take "
            "transformers"
        )
