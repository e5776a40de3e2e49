"""The `rivals.es` section of a run's configuration: evolution strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.merging.directions import Shaping


class EsConfig(Section):
    """Evolution strategies: round after round, a step along the population's noise, weighted by its scores."""

    population: int = Field(30, ge=2, lt=2**20, description="Models scored per round.")
    rounds: PositiveInt = Field(100, description="Most rounds; the budget may end it earlier.")
    sigma: float | None = Field(
        None, gt=0, lt=1, description="Scale of the noise; empty: the middle one of population.sigmas."
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        lt=100,
        description="How far a round steps: weights += learning_rate * mean(shaped score * noise), with noise of unit "
        "variance; a candidate is weights + sigma * noise. Empty: 2.5 times sigma.",
    )
    shaping: Shaping = Field(
        "z_score",
        description="How scores count: z_score, distance from the round's mean; rank, place in it; best_quarter, the "
        "best quarter alike and the others not at all.",
    )
    antithetic: bool = Field(
        False, description="Every second model is the mirror image of the one before: base minus its noise."
    )
    questions: PositiveInt | None = Field(
        None, description="Questions per round, drawn anew for each; empty: as many as the selection split has."
    )
    evaluate_every: PositiveInt = Field(5, description="Rounds between two looks at the validation split.")
    patience: PositiveInt = Field(5, description="Looks without a better validation score until it ends.")
    seed: int = Field(0, ge=0, lt=2**32, description="Of the noise and of the questions of every round.")

    def scale(self, sigmas: Sequence[float]) -> float:
        """Return `sigma`, or what it is where it is empty.

        Args:
            sigmas: Those of the search.
        """
        return self.sigma or sorted(sigmas)[len(sigmas) // 2]

    def rate(self, sigmas: Sequence[float]) -> float:
        """Return `learning_rate`, likewise."""
        return self.learning_rate or 2.5 * self.scale(sigmas)

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if self.antithetic and self.population % 2:
            raise ValueError(
                f"rivals.es.population is {self.population}, but rivals.es.antithetic needs pairs; make it even"
            )
        return self
