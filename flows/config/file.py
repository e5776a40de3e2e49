"""Reads a preset or YAML file and `--set` overrides into a checked `RunConfig`, with errors a person can act on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from thickets.flows.config.explain import explain
from thickets.flows.config.kept import follow
from thickets.flows.config.run import RunConfig
from thickets.storage.errors import InputError

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Return the names of the presets that ship with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_config(source: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        source: A preset's name, or a path to a YAML file; of a run's own, see `thickets.flows.config.kept.follow`.
        overrides: ``section.field=value`` assignments; values are YAML.

    Raises:
        InputError: One line per problem: the field, what was found, what is allowed.

    Example:
        >>> from thickets import load_config
        >>> load_config("quickstart", ["population.size=96"]).population.size
        96
    """
    path = _find(source)
    values = _read_mapping(path)
    follow(path, values)
    values.setdefault("name", path.stem.lower().replace(" ", "-"))
    for override in overrides:
        _assign(values, override)
    return parse_config(values)


def parse_config(values: dict[str, Any]) -> RunConfig:
    """Check plain values against `RunConfig`.

    Raises:
        InputError: One line per problem.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(explain(error, RunConfig)) from None


def with_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Return a configuration with ``section.field=value`` assignments on top; see `load_config`."""
    values = config.model_dump(mode="json")
    for override in overrides:
        _assign(values, override)
    return parse_config(values)


def dump_config(config: RunConfig) -> str:
    """Return the configuration as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested sections to dotted names: ``{"data": {"seed": 0}}`` gives ``{"data.seed": 0}``."""
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, dict) and item:
            flat |= flatten(item, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = item
    return flat


def _find(source: str) -> Path:
    preset = PRESETS / f"{source}.yaml"
    if source in preset_names():
        return preset
    path = Path(source)
    if path.is_file():
        return path
    raise InputError(f"config: no file and no preset {source!r}; presets: {', '.join(preset_names())}")


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"config: {path} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise InputError(f"config: {path} must hold a mapping of fields, found {type(values).__name__}")
    return values


def _assign(values: dict[str, Any], override: str) -> None:
    field, separator, text = override.partition("=")
    if not separator or not field:
        raise InputError(f"--set: {override!r} must look like section.field=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {field}: {text!r} is not a YAML value") from None
    *parents, last = field.split(".")
    target = values
    for depth, parent in enumerate(parents):
        child = target.setdefault(parent, {})
        if isinstance(child, str) and parent == "problem":
            child = target[parent] = {"name": child}  # the short form holds only the name
        if child is None:
            child = target[parent] = {}  # a section that was left out
        if not isinstance(child, dict):
            raise InputError(f"--set {field}: {'.'.join(parents[: depth + 1])} is a value, not a section")
        target = child
    target[last] = value
