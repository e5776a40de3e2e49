"""The `decoding` section: how answers are generated, and what of a reply is thought."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.engines.chat_template import RESERVED
from thickets.tasks.types import Scalar
from thickets.tasks.verifiers.thought import THOUGHT_TAGS

_POSITIVE_INT = TypeAdapter(PositiveInt)
# Also an enum of one value, so that a form offers it instead of a line to type in.
Learned = Annotated[Literal["learned"], Field(title="learned", json_schema_extra={"enum": ["learned"]})]


class DecodingConfig(Section):
    """How answers are generated; greedily, but for the samples of `controls`."""

    max_tokens: Annotated[int, Field(gt=0, title="a number")] | Learned | None = Field(
        None,
        description="Most new tokens per answer: a number, or learned: what the base's right answers to the selection "
        "split need, at most the problem's own; empty: the problem's own.",
    )
    stop: tuple[str, ...] | None = Field(None, description="Strings that end an answer; empty: the problem's own.")
    reasoning: tuple[str, str] | None = Field(
        THOUGHT_TAGS,
        description="What begins and what ends a thought. A finished one is removed before an answer is looked for; "
        "an unfinished one is an abstention. Empty: replies hold no thoughts.",
    )
    chat_template_kwargs: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Values for the model's chat template, for example enable_thinking: false; empty: none.",
    )

    @field_validator("max_tokens", mode="before")
    @classmethod
    def _number_or_learned(cls, value: object) -> object:
        if value is None or value == "learned":
            return value
        try:
            return _POSITIVE_INT.validate_python(value)
        except ValidationError:  # one line about it instead of one per alternative
            raise ValueError(
                f"found {value!r}; give a number of tokens greater than 0, learned, or nothing for the problem's own"
            ) from None

    @field_validator("reasoning", mode="before")
    @classmethod
    def _two_different_tags(cls, tags: object) -> object:
        if not tags:
            return None
        found = list(tags) if isinstance(tags, list | tuple) else []
        texts = {tag.lower() for tag in found if isinstance(tag, str) and tag.strip()}
        if len(found) != 2 or len(texts) != 2:
            raise ValueError(
                f"found {tags!r}; give two different strings that are not empty, what begins a thought and what ends "
                "it, or nothing if replies hold no thoughts"
            )
        return tags

    @field_validator("chat_template_kwargs", mode="before")
    @classmethod
    def _names_and_scalars(cls, values: object) -> object:
        if values is None:
            return {}
        if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
            raise ValueError(f"found {values!r}; give names and values, for example {{enable_thinking: false}}")
        if taken := sorted(RESERVED & values.keys()):
            raise ValueError(f"rendering a prompt sets {', '.join(taken)} itself; remove it")
        for name, value in values.items():
            is_finite = not isinstance(value, float) or math.isfinite(value)
            if not isinstance(value, str | int | float | None) or not is_finite:
                raise ValueError(f"{name} is {value!r}; give a text, a finite number, true, false or null")
        return values

    @property
    def learns_limit(self) -> bool:
        """Whether the limit comes from the base's answers."""
        return self.max_tokens == "learned"
