"""The `selection` section: which candidates become experts, and how these vote."""

from __future__ import annotations

from pydantic import Field, field_validator

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.results.evaluation import Method, VoteRule


class SelectionConfig(Section):
    """Which candidates become experts, how many, and how they vote; what is listed is compared on validation."""

    k_values: tuple[PositiveInt, ...] = Field(
        (5, 10, 25, 50), min_length=1, description="Ensemble sizes tried on the validation split."
    )
    methods: tuple[Method, ...] = Field(
        ("top_k",),
        min_length=1,
        description="Rankings tried on the validation split: top_k by score, shrunken by the accuracy to expect on new "
        "questions given all candidates of the sigma, diverse by score less errors shared with those before.",
    )
    votes: tuple[VoteRule, ...] = Field(
        ("majority",),
        min_length=1,
        description="Vote rules tried on the validation split: majority is one vote per expert, weighted counts each "
        "by its selection score (shrunken: by its expected accuracy).",
    )

    @field_validator("k_values")
    @classmethod
    def _ascending(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError(f"{list(values)} must be distinct and in ascending order")
        return values

    @field_validator("methods", "votes")
    @classmethod
    def _listed_once(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"{list(values)} names one twice; each may stand once")
        return values
