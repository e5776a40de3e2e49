"""The process of a program: runs its text, then answers calls of its functions, one line of JSON each.

The program shares this process and may do to it what it likes: all that leaves it is the value of a call, what the
call's arguments hold after it where the tests ask for that, and calls of functions that the tests have handed over.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any, TextIO

from .beginning import open_pipes, restricted
from .exceptions import exception, form_of
from .values import NotPlain, Shared, contents, decode, decode_shared, encode


class _Kept:
    """Objects that the tests hold by number."""

    def __init__(self) -> None:
        self._objects: list[Any] = []

    def keep(self, value: Any) -> list[Any]:
        self._objects.append(value)
        return ["r", len(self._objects) - 1, type(value).__name__[:100]]

    def get(self, number: int, _: str = "") -> Any:
        return self._objects[number]


class _Service:
    """Answers the tests, and calls their functions."""

    def __init__(self, requests: TextIO, replies: TextIO) -> None:
        self._requests, self._replies = requests, replies
        self.kept = _Kept()
        self._made: dict[str, Callable[..., Any]] = {
            "r": self.kept.get,
            "k": self._function_of_tests,
            "q": _of_library,
        }

    def reply(self, message: dict[str, Any]) -> None:
        self._replies.write(json.dumps(message) + "\n")
        self._replies.flush()

    def said(self, make: Callable[[], Any]) -> dict[str, Any]:
        """Return the message with a value, or with the exception in its place."""
        try:
            return {"value": encode(make(), self.kept.keep)}
        except NotPlain as error:
            return {"raised": ["ValueError", str(error)]}
        except BaseException as error:  # SystemExit too
            return {"raised": form_of(error)}

    def serve(self) -> Any:
        """Answer what is asked; return what a function of the tests has returned, None at the end of the input."""
        for line in iter(self._requests.readline, ""):
            ask = json.loads(line)
            if "returned" in ask:
                return decode(ask["returned"], self._made)
            if "threw" in ask:
                raise exception(*ask["threw"])
            self.reply(self._answer(ask))
        return None

    def _answer(self, ask: dict[str, Any]) -> dict[str, Any]:
        shared = Shared()
        after: dict[str, Any] = {}

        def make() -> Any:
            target = self.kept.get(ask["on"])
            if "name" in ask:
                return getattr(target, ask["name"])
            arguments = decode_shared(ask["arguments"], self._made, shared)
            named = dict(decode_shared(ask["named"], self._made, shared))
            before = contents(shared, self.kept.keep)
            value = target(*arguments, **named)
            now = contents(shared, self.kept.keep)
            after.update({str(number): form for number, form in enumerate(now) if form != before[number]})
            return value

        message = self.said(make)
        return {**message, "after": after} if after and "value" in message else message

    def _function_of_tests(self, number: int) -> Any:
        def function(*arguments: Any, **named: Any) -> Any:
            self.reply(
                {
                    "call": number,
                    "arguments": encode(arguments, self.kept.keep),
                    "named": encode(tuple(named.items()), self.kept.keep),
                }
            )
            return self.serve()

        return function


def _of_library(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def main() -> None:
    """Run the program that the first line holds, then answer a call a line, to the end of the input."""
    requests, replies = open_pipes()
    source = json.loads(requests.readline())["source"]
    restricted(sys.argv[2:], requests)
    service = _Service(requests, replies)
    # Not "__main__": what a script does when it is run is no part of its functions.
    space: dict[str, Any] = {"__name__": "program"}

    def run() -> None:
        exec(compile(source, "program", "exec"), space)

    def is_of_program(name: Any, value: Any) -> bool:
        return type(name) is str and not name.startswith("__") and type(value) is not type(sys)

    def form(value: Any) -> Any:
        try:
            return encode(value, service.kept.keep)
        except BaseException:
            return service.kept.keep(value)

    begun = service.said(run)
    if "raised" in begun:
        service.reply(begun)
        return
    names = [[name, form(value)] for name, value in space.items() if is_of_program(name, value)]
    service.reply({"value": ["d", *names]})
    service.serve()
