"""Plain values as JSON, and what is not plain as a name of where it is: what crosses between a program and its tests.

A list is ``["l", ...]``, a tuple ``["t", ...]``, a set ``["s", ...]``, a frozen one ``["z", ...]``, a dictionary
``["d", [key, value], ...]``, an iterator ``["n", ...]``, bytes ``["b", hex]``, an integer beyond 2**53 ``["i", hex]``,
a float ``["f", hex]``, a complex number ``["c", hex, hex]``; ``None``, truth, text and small integers are themselves.
``["r", number, type]`` is an object that stays where it is. Of a class made from a plain one only the plain part is
seen: no method of it is ever called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

_DEEPEST, _MOST = 60, 50_000
_SMALL = 1 << 53


class NotPlain(Exception):
    """A value that cannot cross: too deep, too large, or of another kind."""


# How to read what is plain of a value, by the plain class's own methods.
_SCALARS: dict[type, Callable[[Any], Any]] = {
    float: lambda value: ["f", float.hex(value)],
    complex: lambda value: ["c", *map(float.hex, _parts(value))],
    bytes: lambda value: ["b", bytes.hex(value)],
    bytearray: lambda value: ["b", bytearray.hex(value)],
}


def _parts(value: complex) -> tuple[float, float]:
    return complex.real.__get__(value), complex.imag.__get__(value)


_SEQUENCES: dict[type, tuple[str, Callable[[Any], Iterator[Any]]]] = {
    list: ("l", list.__iter__),
    tuple: ("t", tuple.__iter__),
    set: ("s", set.__iter__),
    frozenset: ("z", frozenset.__iter__),
}


def encode(value: Any, keep: Callable[[Any], list[Any]]) -> Any:
    """Return a value in a form for JSON.

    Args:
        value: Any object.
        keep: Called with each object that is not plain; returns its ``["r", ...]``.

    Raises:
        NotPlain: It is too deep or too large, or `keep` says so.
    """
    return _Encoder(keep).form(value, 0)


class _Encoder:
    def __init__(self, keep: Callable[[Any], list[Any]]) -> None:
        self._keep = keep
        self._left = _MOST

    def form(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 - one per type
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            raise NotPlain("too deep or too large")
        kinds = type(value).__mro__
        if value is None or value is True or value is False:
            return value
        if str in kinds:
            self._left -= str.__len__(value) // 8
            return str.__str__(value)
        if int in kinds:
            whole = int.__index__(value)
            return whole if -_SMALL < whole < _SMALL else ["i", hex(whole)]
        for kind, scalar in _SCALARS.items():
            if kind in kinds:
                return scalar(value)
        for kind, (name, items) in _SEQUENCES.items():
            if kind in kinds:
                forms = [self.form(item, depth + 1) for item in items(value)]
                return [name, *(sorted(forms, key=json.dumps) if name in "sz" else forms)]
        if dict in kinds:
            pairs = [(key, dict.__getitem__(value, key)) for key in dict.__iter__(value)]
            return ["d", *([self.form(key, depth + 1), self.form(item, depth + 1)] for key, item in pairs)]
        if isinstance(value, Iterator):
            return ["n", *(self.form(item, depth + 1) for item in value)]
        return self._keep(value)


_MADE_OF: dict[str, Callable[[list[Any]], Any]] = {"l": list, "t": tuple, "s": set, "z": frozenset, "n": iter}


def decode(form: Any, kept: Callable[[int, str], Any]) -> Any:
    """Return the value of a form.

    Args:
        form: What `encode` returned, or anything else that was read as JSON.
        kept: Returns what stands for the object with a number and type name.

    Raises:
        NotPlain: It is no such form.
    """
    try:
        return _decoded(form, kept, 0)
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise NotPlain(str(error)) from None


def _decoded(form: Any, kept: Callable[[int, str], Any], depth: int) -> Any:  # noqa: PLR0911 - one per kind
    if depth > _DEEPEST:
        raise NotPlain("too deep")
    if form is None or isinstance(form, (bool, int, str)):
        return form
    if not isinstance(form, list):
        raise NotPlain("no form")
    kind, *parts = form
    if kind == "i":
        return int(parts[0], 16)
    if kind == "f":
        return float.fromhex(parts[0])
    if kind == "c":
        return complex(float.fromhex(parts[0]), float.fromhex(parts[1]))
    if kind == "b":
        return bytes.fromhex(parts[0])
    if kind == "r":
        return kept(int(parts[0]), str(parts[1]))
    if kind == "d":
        return {_decoded(key, kept, depth + 1): _decoded(value, kept, depth + 1) for key, value in parts}
    if kind not in _MADE_OF:
        raise NotPlain("no form")
    items = [_decoded(part, kept, depth + 1) for part in parts]
    return _MADE_OF[kind](items)
