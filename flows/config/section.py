"""What all sections of a configuration have in common, and the numbers that several of them take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]


class Section(BaseModel):
    """A part of the configuration: no unknown fields, and no changes once it is made.

    Where a list is wanted, a single value is a list of one: ``sigmas: 0.01`` is ``sigmas: [0.01]``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {
            name: [value] if isinstance(value, _SINGLE) and name in cls.model_fields and _is_list(cls, name) else value
            for name, value in values.items()
        }

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``size: yes``, which pydantic takes for 1."""
        items = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(item, bool) for item in items) and info.field_name is not None:
            allowed = set(_types(cls.model_fields[info.field_name].annotation))
            if allowed & {int, float} and bool not in allowed:
                raise ValueError(f"found {value!r}; it must be a number, or a list of them where one is wanted")
        return value


# What YAML and JSON have besides lists and nothing. Anything else, a set for instance, is for pydantic to judge.
_SINGLE = (str, int, float, dict, BaseModel)


def _is_list(section: type[BaseModel], name: str) -> bool:
    annotation = section.model_fields[name].annotation
    return tuple in (get_origin(annotation), *map(get_origin, get_args(annotation)))


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
