"""The `rivals` section of a run's configuration: other ways to make one better model, on the same budget."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from thickets.flows.config.rivals_es import EsConfig
from thickets.flows.config.rivals_grpo import GrpoConfig
from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.results.rival_method import METHOD_NAMES, RivalMethod

Unit: TypeAlias = Literal["tokens", "flops", "seconds"]

UNITS: tuple[Unit, ...] = ("tokens", "flops", "seconds")


class RivalBudget(Section):
    """What a rival may spend until its model is chosen; one of the fields."""

    equal: Unit | None = Field(None, description="As much as the search: tokens, flops, or seconds of its engines.")
    tokens: PositiveInt | None = Field(None, description="Tokens through the model: read, generated and trained on.")
    flops: float | None = Field(None, gt=0, description="Floating-point operations.")
    seconds: float | None = Field(None, gt=0, description="Seconds in which an engine or a trainer works.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        found = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(found) != 1:
            raise ValueError(
                f"rivals.budget has {' and '.join(found) or 'nothing'}; it takes exactly one of equal, tokens, flops "
                "and seconds"
            )
        return self


class RivalsConfig(Section):
    """Other methods on the same model, questions and budget; a method runs where its section is there."""

    budget: RivalBudget = Field(
        default_factory=lambda: RivalBudget(equal="tokens"), description="What each of them may spend."
    )
    questions: PositiveInt | None = Field(
        None,
        description="Questions that they learn from: the selection split, and others of what the three splits leave, "
        "so that fewer are learned by heart. Empty: the selection split.",
    )
    es: EsConfig | None = Field(None, description="Evolution strategies; empty: not.")
    grpo: GrpoConfig | None = Field(None, description="GRPO; empty: not.")

    @property
    def methods(self) -> tuple[RivalMethod, ...]:
        """The methods that have a section."""
        return tuple(name for name in METHOD_NAMES if getattr(self, name) is not None)

    def section(self, method: RivalMethod) -> EsConfig | GrpoConfig | None:
        """Return a method's section."""
        return self.es if method == "es" else self.grpo
