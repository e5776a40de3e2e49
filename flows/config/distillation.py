"""The `distillation` section of a run's configuration: what the student is trained on, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from thickets.flows.config.section import PositiveInt, Section

Method = Literal["lora", "full"]
Objective = Literal["sft", "logits"]
EarlierDistillation = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}/[0-9a-f]{8}$")]


class DistillationControlsConfig(Section):
    """Controls for the student: the same training on rows that no expert has written."""

    rejection_sampling: bool = Field(
        True, description="Train on the base's own verified-correct samples: as many rows, as many steps."
    )
    labels: bool = Field(True, description="Train on the gold answers, as many rows and as many steps.")


class DistillationConfig(Section):
    """One model trained on the experts' answers to examples that no other split holds."""

    examples: PositiveInt = Field(500, description="Training examples that experts and base answer.")
    attempts: PositiveInt = Field(5, description="Samples of the base per example; they tell which ones are hard.")
    temperature: float = Field(0.7, ge=0.01, le=2, description="Temperature of these samples.")
    hard_only: bool = Field(
        True, description="Keep only examples that the base gets wrong in more than half of its samples."
    )
    max_per_example: PositiveInt = Field(4, description="Most rows of one example.")
    min_rows: PositiveInt = Field(32, description="With fewer rows nothing is trained, and the run says why.")
    margin: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Look at no label: keep the ensemble's answers that lead by this share of the votes; empty: keep "
        "those that are verified correct.",
    )
    objective: Objective = Field(
        "sft", description="sft: the kept responses as they are; logits: the mean of the experts' token distributions."
    )
    top_tokens: PositiveInt = Field(64, description="Tokens kept of each distribution of objective logits.")
    method: Method = Field("lora", description="Low-rank adapters, merged at the end, or all weights.")
    rank: PositiveInt = Field(16, description="Rank of the adapters.")
    alpha: PositiveInt = Field(32, description="Scale of the adapters; their product counts alpha / rank times.")
    learning_rate: float = Field(2e-4, gt=0, lt=1, description="Largest learning rate; it falls to 0 linearly.")
    epochs: PositiveInt = Field(3, description="Times that every row is seen, unless max_steps is set.")
    max_steps: PositiveInt | None = Field(None, description="Optimizer steps; empty: from epochs.")
    batch_size: PositiveInt = Field(8, description="Rows per optimizer step.")
    eval_every: PositiveInt = Field(10, description="Steps between two looks at the validation split.")
    patience: PositiveInt = Field(3, description="Looks without a better validation accuracy until training ends.")
    controls: DistillationControlsConfig = Field(default_factory=DistillationControlsConfig)
    generic_text: Path | None = Field(
        None, description="UTF-8 text for the perplexity before and after; empty: the one that comes with thickets."
    )
    earlier: tuple[EarlierDistillation, ...] = Field(
        (),
        description="Distillations of earlier rounds as RUN/ID: the student is trained from the model of the first of "
        "them, and on the rows of all as well. Rounds fill this in (rounds.student_from); empty: neither.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of the training examples, the samples, and the training.")

    @model_validator(mode="after")
    def _rows_are_possible(self) -> Self:
        most = self.examples * self.max_per_example
        if self.min_rows > most:
            raise ValueError(
                f"distillation.min_rows is {self.min_rows}, but {self.examples} examples with at most "
                f"{self.max_per_example} rows each give {most}; raise distillation.examples or lower min_rows"
            )
        return self
