"""The config of a problem, checked before anything is loaded."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from thickets.tasks.problems.checks import check
from thickets.tasks.problems.fields import RIGHT_AT, ProblemFields
from thickets.tasks.problems.kind import find_kind


class ProblemConfig(ProblemFields):
    """The problem, the location of its data, its prompt and its verifier.

    A bare string stands for the name alone: ``problem: largest_number``.
    """

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _with_right_at(cls, value: Any) -> Any:
        """Write the default down that depends on the verifier, so that a kept config says it."""
        if not isinstance(value, dict) or "right_at" in value:
            return value
        kind = find_kind(str(value.get("name")))
        judge = value.get("verifier") or (kind and kind.default_verifier)
        return {**value, "right_at": RIGHT_AT[judge]} if judge in RIGHT_AT else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        check(self)
        return self
