"""The `rivals.grpo` section of a run's configuration."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from thickets.flows.config.section import PositiveInt, Section

_LEARNING_RATE = {"lora": 3e-4, "full": 1e-5}


class GrpoConfig(Section):
    """GRPO: policy gradients from groups of sampled answers, with the verifier's score as reward.

    The defaults are for models of 0.1 to 1.5 billion weights; docs/rivals.md says where they come from.
    """

    method: Literal["lora", "full"] = Field("lora", description="Low-rank adapters, merged at the end, or all weights.")
    rank: PositiveInt = Field(16, description="Rank of the adapters.")
    alpha: PositiveInt = Field(32, description="Scale of the adapters; their product counts alpha / rank times.")
    learning_rate: float | None = Field(
        None, gt=0, lt=1, description="After the warm-up; empty: 3e-4 for lora, 1e-5 for full."
    )
    warmup_steps: int = Field(3, ge=0, description="Steps in which the learning rate rises; it stays from then on.")
    prompts: PositiveInt = Field(8, description="Questions per step.")
    num_generations: int = Field(8, ge=2, description="Sampled answers per question: the group that they compete in.")
    batch_size: PositiveInt = Field(16, description="Answers per forward and backward pass; for memory alone.")
    iterations: PositiveInt = Field(1, description="Optimizer steps per sample.")
    temperature: float = Field(1.0, ge=0.01, le=2, description="Temperature of the samples.")
    beta: float = Field(0.0, ge=0, lt=10, description="Weight of the KL divergence from the base.")
    max_steps: PositiveInt = Field(1000, description="Most optimizer steps; the budget may end it earlier.")
    eval_every: PositiveInt = Field(5, description="Steps between two looks at the validation split.")
    patience: PositiveInt = Field(5, description="Looks without a better validation score until it ends.")
    generation: Literal["transformers", "vllm"] = Field(
        "transformers", description="What samples: the trainer's own model, or on a CUDA GPU vLLM beside it."
    )
    checkpointing: bool | None = Field(
        None, description="Make activations again for the gradients; empty: where a GPU's memory asks for it."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of the questions' order, the samples, and the adapters.")

    @model_validator(mode="after")
    def _steps_are_possible(self) -> Self:
        n = self.prompts * self.num_generations
        if n % self.batch_size:
            raise ValueError(
                f"rivals.grpo.batch_size is {self.batch_size}, but a step has prompts * num_generations = {n} answers, "
                "which must be whole batches; set it to a divisor"
            )
        if self.eval_every % self.iterations:
            raise ValueError(
                f"rivals.grpo.eval_every is {self.eval_every} and rivals.grpo.iterations {self.iterations}; a "
                "checkpoint lies between two samples, so make eval_every a multiple of iterations"
            )
        return self

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or _LEARNING_RATE[self.method]
