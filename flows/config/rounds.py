"""The `rounds` section of a run's configuration: searches around what the search before has made."""

from __future__ import annotations

import hashlib
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from thickets.flows.config.data import DataConfig
from thickets.flows.config.section import PositiveInt, Section

By: TypeAlias = Literal["merge", "distill"]


class RoundsBudgetConfig(Section):
    """Most that all rounds may cost together."""

    tokens: PositiveInt | None = Field(None, description="Tokens to generate in all rounds, students' data included.")
    seconds: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Seconds of all rounds, training and engine starts included."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.tokens is None) == (self.seconds is None):
            raise ValueError(f"tokens is {self.tokens} and seconds is {self.seconds}; give exactly one of the two")
        return self


class RoundsConfig(Section):
    """Search, make one model, search around that, and so on, until none beats the model it was made around."""

    most: int = Field(4, ge=1, le=100, description="Most rounds; fewer where a model does not beat its base.")
    by: By = Field(
        "merge", description="How a round makes its model: merge (section merge), or distill (section distillation)."
    )
    student_from: Literal["round", "base"] = Field(
        "round",
        description="What a student is trained from: round: the model of its round; base: the model of the first "
        "round, on the rows of all rounds so far.",
    )
    shrink: float = Field(
        1.0, gt=0, le=1, description="Times this, every sigma goes into the next round; 1 leaves them as they are."
    )
    questions: Literal["same", "own"] = Field(
        "same",
        description="Which questions a round ranks and chooses by: same: selection and validation split of the first "
        "round; own: both drawn anew for each round, so that luck with them does not add up. The test split stays.",
    )
    budget: RoundsBudgetConfig | None = Field(
        None, description="Begin no round that would not fit in, if it costs what the one before did; empty: no limit."
    )

    @model_validator(mode="after")
    def _students_are_made(self) -> Self:
        if self.student_from == "base" and self.by == "merge":
            raise ValueError("student_from is base, but by is merge, which trains none; set by to distill")
        if self.student_from == "base" and self.questions == "own":
            raise ValueError("student_from is base, but questions is own; rows of all rounds need the same splits")
        return self

    def data(self, data: DataConfig, number: int) -> DataConfig:
        """Return the data of a round: the run's, with questions of its own if it is to have them."""
        if number == 1 or self.questions == "same":
            return data
        seed = round_key("questions of round", data.redraw or 0, number, 8)
        return data.model_copy(update={"redraw": seed})


def round_key(what: str, seed: int, number: int, size: int) -> int:
    """Return a key of ``size`` bytes for what a round draws."""
    digest = hashlib.blake2b(f"thickets {what} 1:{seed}:{number}".encode(), digest_size=size).digest()
    return int.from_bytes(digest, "little")
