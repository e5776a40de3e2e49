"""How a model is trained by GRPO, and when that ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thickets.tasks.results.cost import Cost

Generation = Literal["transformers", "vllm"]
Method = Literal["lora", "full"]
Unit = Literal["tokens", "flops", "seconds"]

BUDGET_SPENT = "its budget was spent"
OUT_OF_PATIENCE = "validation did not get better any more"
ALL_STEPS = "all its steps were taken"


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a training may spend, validation included.

    Attributes:
        unit: What is counted.
        amount: How much of it.
    """

    unit: Unit
    amount: float

    def is_spent(self, cost: Cost) -> bool:
        """Return whether nothing is left."""
        found = {"tokens": cost.n_tokens, "flops": cost.flops, "seconds": cost.engine_s}[self.unit]
        return found >= self.amount


@dataclass(frozen=True, slots=True)
class GrpoSettings:
    """How a model is trained; see `GrpoConfig` for the reasons.

    Attributes:
        method: Adapters, merged at the end, or all weights.
        rank: Of the adapters.
        alpha: Of the adapters.
        learning_rate: After the warm-up; it stays, since the budget and not a number of steps decides on the end.
        warmup_steps: Steps in which the learning rate rises from 0.
        beta: Weight of the KL divergence from the base; 0 needs no passes of the base.
        temperature: Of the samples.
        prompts: Questions per step.
        generations: Samples per question: a group.
        batch_size: Sequences per forward and backward pass.
        iterations: Optimizer steps per sample.
        max_steps: Most optimizer steps.
        eval_every: Steps between two looks at the validation split; a checkpoint is written before each.
        patience: Looks without a better validation score until training ends.
        seed: Of the questions' order, the samples, and the adapters.
        n_parameters: Of the model, through which a token passes; for its cost.
        rollout_rows: Most samples that are decoded together.
        generation: What makes the samples.
        device: Where it is trained.
        trust_remote_code: Run Python code found in the base's folder.
        mixed: Products in bfloat16, weights in float32.
        checkpointing: Activations are made again for the gradients.
    """

    method: Method
    rank: int
    alpha: int
    learning_rate: float
    warmup_steps: int
    beta: float
    temperature: float
    prompts: int
    generations: int
    batch_size: int
    iterations: int
    max_steps: int
    eval_every: int
    patience: int
    seed: int
    n_parameters: int
    rollout_rows: int = 64
    generation: Generation = "transformers"
    device: str = "cpu"
    trust_remote_code: bool = False
    mixed: bool = False
    checkpointing: bool = False

    @property
    def n_rollouts(self) -> int:
        """Samples per step."""
        return self.prompts * self.generations
