"""The process of the tests on a program: they call its functions through a pipe and see plain values alone.

A call that is a statement by itself is made for its effect: then the lists, dictionaries and sets among its arguments
hold afterwards what the program has made of them. Where a call's value is used they stay as they were, so that no
program can change what a test compares that value with.
"""

from __future__ import annotations

import ast
import builtins
import json
import sys
from collections.abc import Callable
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType
from typing import Any, TextIO

from .beginning import open_pipes, restricted
from .exceptions import exception, form_of
from .values import NotPlain, Shared, change, decode, encode

_FOR_EFFECT = "_for_effect"


class ProgramEnded(BaseException):
    """The program's process is gone; no test passes any more."""


class _There:
    """An object in the program's process: it can be called, handed back and asked for its attributes."""

    def __init__(self, program: _Program, number: int) -> None:
        self.__dict__.update(_program=program, _number=number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._program.call(self._number, arguments, named, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._program.ask({"on": self._number, "name": name})


class _Program:
    """The other end of the pipe."""

    def __init__(self, replies: TextIO, requests: TextIO) -> None:
        self._replies, self._requests = replies, requests
        self.is_gone = False
        self.functions: list[FunctionType] = []  # of the test, that the program may call
        self._made: dict[str, Callable[..., Any]] = {"r": lambda number, _: _There(self, int(number))}

    def call(self, number: int, arguments: tuple[Any, ...], named: dict[str, Any], shared: Shared | None) -> Any:
        """Call an object of the program; with `shared`, for what it does to its arguments."""
        return self.ask(
            {
                "on": number,
                "arguments": encode(arguments, self._kept, shared),
                "named": encode(tuple(named.items()), self._kept, shared),
            },
            shared,
        )

    def ask(self, request: dict[str, Any], shared: Shared | None = None) -> Any:
        self.say({"ask": request})
        while "call" in (reply := json.loads(self._replies.readline() or '{"gone": true}')):
            self.say({"ask": self._call_back(reply)})
        if "gone" in reply:
            self.is_gone = True
            raise ProgramEnded
        if "raised" in reply:
            raise exception(*reply["raised"])
        if shared is not None and "after" in reply:
            change(shared, reply["after"], self._made)
        return self.value(reply["value"])

    def value(self, form: Any) -> Any:
        return decode(form, self._made)

    def say(self, message: dict[str, Any]) -> None:
        self._requests.write(json.dumps(message) + "\n")
        self._requests.flush()

    def for_effect(self, function: Any) -> Any:
        """Return what is called in a statement by itself."""
        if type(function) is not _There:
            return function
        number = function.__dict__["_number"]
        return lambda *arguments, **named: self.call(number, arguments, named, Shared())

    def _call_back(self, reply: dict[str, Any]) -> dict[str, Any]:
        try:
            number = reply["call"]
            if type(number) is not int or not 0 <= number < len(self.functions):
                raise NotPlain("no function")
            arguments, named = self.value(reply["arguments"]), dict(self.value(reply["named"]))
            return {"returned": encode(self.functions[number](*arguments, **named), self._kept)}
        except Exception as error:
            return {"threw": form_of(error)}

    def _kept(self, value: Any) -> list[Any]:
        if type(value) is _There:
            return ["r", value.__dict__["_number"], ""]
        if (place := _in_library(value)) is not None:
            return ["q", *place]
        if type(value) is FunctionType:
            self.functions.append(value)
            return ["k", len(self.functions) - 1]
        raise NotPlain(f"a {type(value).__name__} cannot be handed to a program")


def _in_library(value: Any) -> tuple[str, str] | None:
    """Return module and name of a function or class of Python's library: the program's process has one as well."""
    if not isinstance(value, (type, FunctionType, BuiltinFunctionType, MethodDescriptorType)):
        return None
    owner = value.__objclass__ if isinstance(value, MethodDescriptorType) else value
    module, name = owner.__module__, value.__qualname__
    if not isinstance(module, str) or module.partition(".")[0] not in sys.stdlib_module_names:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is value else None


class _Marked(ast.NodeTransformer):
    """Marks calls that are statements by themselves."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr:
        self.generic_visit(node)
        if isinstance(call := node.value, ast.Call):
            call.func = ast.Call(ast.Name(_FOR_EFFECT, ast.Load()), [call.func], [])
        return node


def _compiled(tree: ast.Module, name: str) -> CodeType:
    return compile(ast.fix_missing_locations(_Marked().visit(tree)), name, "exec")


def _names_for(test: ast.Module, names: dict[str, Any]) -> dict[str, Any]:
    """Return the program's names that a test sees.

    A name of Python's own, such as ``sum``, is the program's only in a test that asks for nothing else of it: a program
    must not judge itself by another ``sorted`` or ``abs`` than Python's.
    """
    own = {name: value for name, value in names.items() if not hasattr(builtins, name)}
    asked = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    return own if asked & set(own) else names


def main() -> None:
    """Run the tests that the first line holds, and say in the last line which passed."""
    requests, replies = open_pipes()
    job = json.loads(requests.readline())
    restricted(sys.argv[2:], requests)
    program = _Program(requests, replies)
    names = program.value(job["names"])
    passed, notes = [], []
    for number, test in enumerate(job["tests"]):
        program.say({"test": number})
        program.functions.clear()
        try:
            tree = ast.parse(test)
            space = {**_names_for(tree, names), "__name__": "tests", _FOR_EFFECT: program.for_effect}
            exec(_compiled(ast.parse(job["setup"]), "setup"), space)
            exec(_compiled(tree, "test"), space)
            note = "" if not program.is_gone else "the program ended"
        except ProgramEnded:
            note = "the program ended"
        except BaseException as error:  # an AssertionError, most of all
            note = f"{type(error).__name__}: {error}"[:500]
        passed.append(not note)
        notes.append(note)
    program.say({"passed": passed, "notes": notes})
