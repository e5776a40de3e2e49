"""Turns pydantic's findings about a configuration into lines that a person can act on.

Each names the field, what was found and what is allowed; a key that does not exist gets the nearest one that does.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

# Other sections are searched more strictly: some field there resembles nearly anything.
_SIMILAR, _SIMILAR_ELSEWHERE = 0.6, 0.8
_MOST = 3
_MOST_LINES = 20
_MOST_CHARACTERS = 200  # of a value


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return the findings, one line each; of very many the first.

    Args:
        error: What validation found.
        model: The model that was validated.
    """
    # A default that depends on a field at fault is reported as well, and says nothing.
    problems = [problem for problem in error.errors() if problem["type"] != "default_factory_not_called"]
    # pydantic reports a list with a bad item again as too short; only the problem of the item is kept.
    around = {problem["loc"][:depth] for problem in problems for depth in range(1, len(problem["loc"]))}
    lines = [_line(problem, model) for problem in problems if problem["loc"] not in around]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"and {len(lines) - _MOST_LINES:,} more of the kind"]
    return lines


def shortened(value: Any) -> str:
    """Return a value as Python writes it, in one line of bounded length."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more than 4300 digits
        return f"a {type(value).__name__} too long to write"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}... ({len(text):,} characters)"


def _line(problem: Any, model: type[BaseModel]) -> str:
    location = _dotted(problem["loc"])
    message = problem["msg"].removeprefix("Value error, ").replace("Tuple should", "List should")
    match problem["type"]:
        case "extra_forbidden":
            return f"{location}: unknown field; {_instead(problem['loc'], model)}"
        case "missing":
            return f"{location}: missing; this field is required"
        case "value_error":
            names_it = not location or message.startswith(f"{location}.")  # more exactly than the location does
            return message if names_it else f"{location}: {message}"
        case "model_type" if (section := _section(problem["loc"], model)) is not None:
            return f"{location}: found {shortened(problem['input'])}; it is a section, with {_listed(section)}"
        case "tuple_type":
            message = "input should be a list"
    found = problem["input"]
    # `--set population.sigmas=0.01,0.02` is one text for YAML, and so a list of one.
    several = problem["loc"] and isinstance(problem["loc"][-1], int) and isinstance(found, str) and "," in found
    hint = f" (a list is written [{found}])" if several else ""
    return f"{location}: found {shortened(found)}; {message[0].lower()}{message[1:]}{hint}"


def _dotted(location: Sequence[str | int]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _instead(location: Sequence[str | int], model: type[BaseModel]) -> str:
    """Say which field may be meant by an unknown one, and which there are in its place."""
    *parents, key = location
    section = _section(parents, model)
    if section is None:
        return "see the README for what is allowed here"
    meant = _meant(str(key), parents, section, model)
    return f"{f'did you mean {meant}? ' if meant else ''}allowed here: {_listed(section)}"


def _meant(key: str, parents: Sequence[str | int], section: type[BaseModel], model: type[BaseModel]) -> str | None:
    """Return the dotted name of the field that a wrong key resembles: of its own section, else of any."""
    elsewhere = dict(_fields(model))
    if not parents and key in elsewhere:  # `population.size: 3` in a file, as only --set takes it
        *sections, last = key.split(".")
        return f"{': {'.join(sections)}: {{{last}: ...{'}' * len(sections)}"
    if nearest := difflib.get_close_matches(key, section.model_fields, n=1, cutoff=_SIMILAR):
        return _dotted([*parents, nearest[0]])
    # Of another section, or the section left out.
    near = difflib.get_close_matches(key, set(elsewhere.values()), n=1, cutoff=_SIMILAR_ELSEWHERE)
    return " or ".join([name for name, last in elsewhere.items() if last in near][:_MOST]) or None


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every field's dotted name and its last part; those of sections before those in them."""
    for name in model.model_fields:
        yield f"{prefix}{name}", name
    for name, field in model.model_fields.items():
        if (section := _model_in(field.annotation)) is not None and not _has_list(field.annotation):
            yield from _fields(section, f"{prefix}{name}.")


def _section(location: Sequence[str | int], model: type[BaseModel]) -> type[BaseModel] | None:
    """Return the model at a location, or None where there is none."""
    found: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue  # the items of a list have the list's model
        if found is None or part not in found.model_fields:
            return None
        found = _model_in(found.model_fields[part].annotation)
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in an annotation such as ``Section | None`` or ``tuple[Section, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in typing.get_args(annotation) if (found := _model_in(each)) is not None), None)


def _has_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple or any(map(_has_list, typing.get_args(annotation)))


def _listed(section: type[BaseModel]) -> str:
    return ", ".join(section.model_fields)
