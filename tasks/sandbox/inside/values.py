"""Plain values as JSON, and what is not plain as a name of where it is: what crosses between a program and its tests.

A list is ``["l", ...]``, a tuple ``["t", ...]``, a set ``["s", ...]``, a frozen one ``["z", ...]``, a dictionary
``["d", [key, value], ...]``, an iterator ``["n", ...]``, bytes ``["b", hex]``, an integer beyond 2**53 ``["i", hex]``,
a float ``["f", hex]``, a complex number ``["c", hex, hex]``; ``None``, truth, text and small integers are themselves.
``["r", number, type]`` is an object that stays where it is, ``["k", number]`` a function of the tests, ``["q", module,
name]`` one of Python's library. ``["m", number, form]`` is a list, dictionary or set that both sides have, and
``["m", number]`` the same one again. Of a class made from a plain one only the plain part is seen: no method of it is
ever called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_DEEPEST, _MOST = 60, 50_000
_SMALL = 1 << 53


class NotPlain(Exception):
    """A value that cannot cross: too deep, too large, or of another kind."""


class Shared:
    """The lists, dictionaries and sets of a call's arguments, which a program may change, by number."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def add(self, value: Any) -> int:
        """Return a new number, that of an object."""
        self.objects.append(value)
        self._numbers[id(value)] = len(self.objects) - 1
        return len(self.objects) - 1

    def put(self, number: int, value: Any) -> None:
        """Give a number to another object."""
        self.objects[number] = value
        self._numbers[id(value)] = number

    def number(self, value: Any) -> int | None:
        """Return the number of an object, if it has one."""
        return self._numbers.get(id(value))


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


def encode(value: Any, keep: Callable[[Any], list[Any]], shared: Shared | None = None) -> Any:
    """Return a value in a form for JSON.

    Args:
        value: Any object.
        keep: Called with each object that is not plain; returns its form.
        shared: Where lists, dictionaries and sets get numbers; None: they are values like others.

    Raises:
        NotPlain: It is too deep or too large, or `keep` says so.
    """
    return _Encoder(keep, shared, is_open=True).form(value, 0)


def contents(shared: Shared, keep: Callable[[Any], list[Any]]) -> list[Any]:
    """Return what each shared object holds now; shared ones in it are named by their numbers.

    Raises:
        NotPlain: It is too deep or too large.
    """
    encoder = _Encoder(keep, shared, is_open=False)
    return [encoder.inside(value, 0) for value in shared.objects]


def change(shared: Shared, changed: Any, made: Mapping[str, Callable[..., Any]]) -> None:
    """Give shared objects, which stay the same objects, what they hold on the other side.

    Args:
        shared: The objects.
        changed: The form of new contents by number, as read from JSON.
        made: See `decode`.

    Raises:
        NotPlain: Something is no such form, or not of the object's kind.
    """
    if not isinstance(changed, dict):
        raise NotPlain("no form")
    made = {**made, "m": lambda number: shared.objects[_place(number)]}
    try:
        new = {int(number): decode(form, made) for number, form in changed.items()}
        for number, value in new.items():
            own = shared.objects[_place(number)]
            kind = next(each for each in _CHANGE if isinstance(own, each))
            if type(value) is not kind:
                raise NotPlain(f"a {kind.__name__} became a {type(value).__name__}")
            _CHANGE[kind](own, value)
    except (ValueError, TypeError, IndexError) as error:
        raise NotPlain(str(error)) from None


def _place(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise NotPlain("no form")
    return number


def _hold_list(own: list[Any], new: list[Any]) -> None:
    list.__setitem__(own, slice(None), new)


def _hold_dict(own: dict[Any, Any], new: dict[Any, Any]) -> None:
    dict.clear(own)
    dict.update(own, new)


def _hold_set(own: set[Any], new: set[Any]) -> None:
    set.clear(own)
    set.update(own, new)


_CHANGE: dict[type, Callable[[Any, Any], None]] = {list: _hold_list, dict: _hold_dict, set: _hold_set}


class _Encoder:
    def __init__(self, keep: Callable[[Any], list[Any]], shared: Shared | None, *, is_open: bool) -> None:
        self._keep, self._shared, self._is_open = keep, shared, is_open
        self._left = _MOST

    def form(self, value: Any, depth: int) -> Any:
        """Return the form of a value; of a shared one its number."""
        if self._shared is None or not any(kind in type(value).__mro__ for kind in _CHANGE):
            return self.inside(value, depth)
        if (known := self._shared.number(value)) is not None:
            return ["m", known]
        if not self._is_open:
            return self.inside(value, depth)
        return ["m", self._shared.add(value), self.inside(value, depth)]

    def inside(self, value: Any, depth: int) -> Any:  # noqa: PLR0911 - one per type
        """Return the form of what a value is."""
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


def decode(form: Any, made: Mapping[str, Callable[..., Any]]) -> Any:
    """Return the value of a form.

    Args:
        form: What `encode` returned, or anything else that was read as JSON.
        made: For each kind that is not plain and allowed, a function of the rest of its form.

    Raises:
        NotPlain: It is no such form.
    """
    try:
        return _Decoder(made).value(form, 0)
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise NotPlain(str(error)) from None


def decode_shared(form: Any, made: Mapping[str, Callable[..., Any]], shared: Shared) -> Any:
    """Return the value of a form; its lists, dictionaries and sets with numbers are added to `shared`.

    Raises:
        NotPlain: It is no such form.
    """
    try:
        return _Decoder(made, shared).value(form, 0)
    except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise NotPlain(str(error)) from None


class _Decoder:
    def __init__(self, made: Mapping[str, Callable[..., Any]], shared: Shared | None = None) -> None:
        self._made, self._shared = made, shared

    def value(self, form: Any, depth: int) -> Any:  # noqa: PLR0911 - one per kind
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
        if kind == "d":
            return {self.value(key, depth + 1): self.value(value, depth + 1) for key, value in parts}
        if kind == "m" and self._shared is not None:
            return self._of_both(self._shared, parts, depth)
        if kind in _MADE_OF:
            return _MADE_OF[kind]([self.value(part, depth + 1) for part in parts])
        if kind not in self._made:
            raise NotPlain("no form")
        return self._made[kind](*parts)

    def _of_both(self, shared: Shared, parts: list[Any], depth: int) -> Any:
        if len(parts) == 1:
            value = shared.objects[_place(parts[0])]
            if value is _UNFINISHED:
                raise NotPlain("a value that holds itself")
            return value
        number = shared.add(_UNFINISHED)
        shared.put(number, value := self.value(parts[1], depth + 1))
        return value


_UNFINISHED = object()
