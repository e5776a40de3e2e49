"""The `scoring` section: how the work is divided, and what of it is spared."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from thickets.flows.config.section import PositiveInt, Section

# Of what an empty `scoring.examples_per_block` stands for, by device; see `thickets.flows.config.sizes`.
LEAST_BLOCK = 256


class RacingConfig(Section):
    """Racing: candidates answer the selection split block by block, and after each block hopeless ones are dropped."""

    z: float = Field(
        1.64,
        gt=0,
        le=1000,
        allow_inf_nan=False,
        description="Width of the intervals, in standard deviations: a candidate whose interval ends below the K-th "
        "best's is dropped. Smaller saves more and loses more; 1000 drops only who cannot reach the best K any more.",
    )
    keep: float | None = Field(
        None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="Largest share of the candidates that goes on after each block, but never fewer than the best K; "
        "empty: the intervals alone decide.",
    )


class BudgetConfig(Section):
    """Most that a run may cost; as many candidates are scored as it pays for."""

    tokens: PositiveInt | None = Field(None, description="Tokens to generate in all, controls included.")
    minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Minutes until the report is there, training not included."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.tokens is None) == (self.minutes is None):
            raise ValueError(f"tokens is {self.tokens} and minutes is {self.minutes}; give exactly one of the two")
        return self


class ScoringConfig(Section):
    """Division of the work. Only `examples_per_block` can change an answer; `racing` decides which candidates go on."""

    examples_per_block: PositiveInt | None = Field(
        None,
        description="Examples answered together by one candidate: the unit of generation; empty: 1024 on CUDA, "
        "elsewhere 256.",
    )
    candidates_per_shard: PositiveInt = Field(
        4,
        description="Candidates per task and file, what a kill can lose: at most; several engines get smaller ones "
        "towards the end of a stage.",
    )
    retries: int = Field(2, ge=0, le=10, description="Further attempts at a shard whose engine failed.")
    unit_timeout_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Seconds one candidate may take on one block before its engine counts as hung and is replaced; "
        "empty: half an hour, or longer if the block's answers may take longer at 10 tokens per second (200 on a GPU).",
    )
    budget: BudgetConfig | None = Field(
        None, description="Score as many candidates as this pays for, up to population.size; empty: all of them."
    )
    racing: RacingConfig | None = Field(
        None, description="Ask hopeless candidates no further selection questions; empty: ask everybody all of them."
    )
