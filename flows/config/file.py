"""Reads a preset or YAML file and `--set` overrides into a checked `RunConfig`, with errors a person can act on."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from thickets.flows.config.explain import explain, shortened
from thickets.flows.config.kept import follow
from thickets.flows.config.name import name_of_file
from thickets.flows.config.run import RunConfig
from thickets.flows.config.strict_yaml import YamlError, kind_of_value, read_yaml
from thickets.storage.errors import InputError

PRESETS = Path(__file__).parent / "presets"
_MOST_BYTES = 1_000_000  # seconds of reading


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
    if "name" not in values:
        values["name"] = name_of_file(path.stem)
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
        raise InputError(*explain(error, RunConfig)) from None


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
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # not there, a name that none can have, a folder that may not be looked into
        raise InputError(
            f"config: no file and no preset {shortened(source)}; presets: {', '.join(preset_names())}"
        ) from None
    if not stat.S_ISREG(mode):
        raise InputError(f"config: {source} is {'a folder' if stat.S_ISDIR(mode) else 'no file'}; name a YAML file")
    return path


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        if (n_bytes := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"config: {path} has {n_bytes:,} bytes; {_MOST_BYTES:,} are the most")
        values = read_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"config: {path} is not UTF-8 ({error.reason} at byte {error.start}); save it as that"
        ) from None
    except (YamlError, OSError) as error:
        raise InputError(f"config: {path} is not readable YAML: {error}") from None
    if values is None:
        raise InputError(f"config: {path} is empty; it must hold a mapping of fields, such as problem: largest_number")
    if not isinstance(values, dict):
        raise InputError(f"config: {path} must hold a mapping of fields, found {kind_of_value(values)}")
    return values


def _assign(values: dict[str, Any], override: str) -> None:
    field, separator, text = override.partition("=")
    if not separator or not all(field.split(".")):
        raise InputError(f"--set: {shortened(override)} must look like section.field=value")
    try:
        value = read_yaml(text)
    except YamlError as error:
        raise InputError(f"--set {field}: {shortened(text)} is not a YAML value: {error}") from None
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
