"""The `population` and `noise` sections: how many candidates there are, and what makes them."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.noise import Family, Perturbation
from thickets.tasks.noise.rule import Rule

Sigma = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
_MOST_CANDIDATES = 100_000_000  # a list of them is gigabytes
# What a pilot needs of each sigma to tell how much its candidates differ.
_LEAST_PER_SIGMA = 3


class PilotConfig(Section):
    """The first candidates, with evenly shared sigmas, decide which sigmas the others get."""

    candidates: PositiveInt = Field(
        60, description="How many come first; they answer the whole selection split before the others are drawn."
    )
    even: float = Field(
        0.1,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of the later candidates that all sigmas get alike, whatever the pilot says of them.",
    )


class PopulationConfig(Section):
    """Which perturbations are sampled."""

    size: PositiveInt = Field(
        5000, le=_MOST_CANDIDATES, description="Number of candidates, N. Raising it later scores only the new ones."
    )
    sigmas: tuple[Sigma, ...] = Field(
        (5e-4, 1e-3, 2e-3), min_length=1, description="Noise scales, in units of the weights; shared out evenly."
    )
    seed: int = Field(0, ge=0, lt=2**64, description="The one number the whole population is derived from.")
    pilot: PilotConfig | None = Field(
        None, description="Let the first candidates decide which sigmas the others get; empty: all get equal shares."
    )

    @field_validator("sigmas")
    @classmethod
    def _distinct(cls, sigmas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(sigmas)) != len(sigmas):
            raise ValueError(f"{list(sigmas)} names a sigma twice; each may stand once")
        return sigmas

    @model_validator(mode="after")
    def _pilot_can_decide(self) -> Self:
        if self.pilot is None:
            return self
        n, n_sigmas = self.pilot.candidates, len(self.sigmas)
        if n_sigmas == 1:
            raise ValueError(
                f"pilot chooses among sigmas, but sigmas names only {self.sigmas[0]:g}; name at least two, or remove "
                "pilot"
            )
        if n < (least := _LEAST_PER_SIGMA * n_sigmas):
            raise ValueError(
                f"pilot.candidates is {n}, but {n_sigmas} sigmas need at least {least}, {_LEAST_PER_SIGMA} of each to "
                f"tell how much they differ; raise it, or name fewer sigmas"
            )
        if n >= self.size:
            raise ValueError(
                f"pilot.candidates is {n} of a population of {self.size}, which leaves none to decide about; lower it, "
                "raise population.size, or remove pilot"
            )
        return self


class NoiseConfig(Section):
    """What a perturbation does to the weights."""

    family: Family = Field("gaussian", description="Distribution of the noise.")
    include: tuple[str, ...] = Field(("*",), min_length=1, description="Parameter name patterns to perturb.")
    exclude: tuple[str, ...] = Field(
        Perturbation().exclude, description="Parameter name patterns to leave alone (default: vision towers)."
    )
    scale: tuple[tuple[str, float], ...] = Field(
        (),
        description="Factors on sigma by parameter name pattern, for instance {'*norm*': 0.1, '*embed*': 0.5}; the "
        "first match decides, 0 leaves a parameter as it is, and without a match the factor is 1.",
    )
    rule: Rule | None = Field(
        None,
        description="Factors from each tensor's shape and norm, for what scale leaves open: balanced, or empty for 1.",
    )

    @field_validator("scale", mode="before")
    @classmethod
    def _patterns_with_factors(cls, value: Any) -> list[tuple[str, float]]:
        """Take a mapping, or the list of pairs that it is kept as: some databases sort a mapping's keys."""
        pairs: list[Any] = []
        for item in value if isinstance(value, list | tuple) else [value]:
            pairs += item.items() if isinstance(item, dict) else [item]
        for pair in pairs:
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) and pair[0]):
                raise ValueError(
                    f"found {pair!r}; it must be a mapping from patterns of parameter names to factors, for instance "
                    "{'*norm*': 0.1}"
                )
            pattern, factor = pair
            is_number = isinstance(factor, int | float) and not isinstance(factor, bool)
            if not (is_number and 0 <= factor < math.inf):
                raise ValueError(f"found {factor!r} for {pattern!r}; a factor must be a finite number, 0 or more")
        patterns = [pattern for pattern, _ in pairs]
        if len(set(patterns)) != len(patterns):
            raise ValueError(f"found {patterns}, a pattern twice; only the first would ever count")
        return [(pattern, float(factor)) for pattern, factor in pairs]
