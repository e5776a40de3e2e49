"""Fingerprints: the SHA-256 of canonical JSON, which raises on values that have no single form."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from thickets.storage.errors import InputError

_SCALARS = (type(None), bool, int, str)


def canonical_json(value: Any) -> str:
    """Write a value as JSON, equal values alike: keys sorted, no spaces, ASCII only.

    Types are matched exactly, so a NumPy float, an enum or a dataclass raises instead of being
    written in a form that another version of its library might change. A tuple is written as a list.

    Args:
        value: None, bool, int, float, str, or a list, tuple or string-keyed dict of these.

    Raises:
        TypeError: For any other type, naming where it stands (``$.engine.dtype``).
        InputError: For NaN and the infinities, which JSON cannot hold.
    """
    return json.dumps(_checked(value, "$"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of ``canonical_json(value)`` as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def _checked(value: Any, where: str) -> Any:
    if type(value) in _SCALARS:
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise InputError(f"{where} is {value}; only finite numbers can be part of a fingerprint")
        return value
    if type(value) in (list, tuple):
        return [_checked(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                raise TypeError(f"{where} has the key {key!r} of type {type(key).__name__}; keys must be strings")
        return {key: _checked(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where} is a {type(value).__name__}, which has no canonical JSON; convert it to plain values")
