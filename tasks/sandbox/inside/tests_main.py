"""The process of the tests on a program: they call its functions through a pipe and see plain values alone."""

from __future__ import annotations

import builtins
import json
import sys
from typing import Any, TextIO

from .beginning import open_pipes, restricted
from .values import NotPlain, decode, encode


class ProgramEnded(BaseException):
    """The program's process is gone; no test passes any more."""


class ProgramError(Exception):
    """The program raised an exception of its own making."""


class _There:
    """An object in the program's process: it can be called, handed back and asked for its attributes."""

    def __init__(self, program: _Program, number: int) -> None:
        self.__dict__.update(_program=program, _number=number)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._program.ask({"on": self._number, "arguments": list(arguments), "named": named})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._program.ask({"on": self._number, "name": name})


class _Program:
    """The other end of the pipe."""

    def __init__(self, replies: TextIO, requests: TextIO) -> None:
        self._replies, self._requests = replies, requests
        self.is_gone = False

    def ask(self, request: dict[str, Any]) -> Any:
        if "arguments" in request:
            request = {
                **request,
                "arguments": encode(request["arguments"], self._number_of),
                "named": encode(request["named"], self._number_of),
            }
        self.say({"ask": request})
        reply = json.loads(self._replies.readline() or '{"gone": true}')
        if "gone" in reply:
            self.is_gone = True
            raise ProgramEnded
        if "raised" in reply:
            raise _exception(*reply["raised"])
        return self.value(reply["value"])

    def value(self, form: Any) -> Any:
        return decode(form, lambda number, _: _There(self, number))

    def say(self, message: dict[str, Any]) -> None:
        self._requests.write(json.dumps(message) + "\n")
        self._requests.flush()

    @staticmethod
    def _number_of(value: Any) -> list[Any]:
        if type(value) is not _There:
            raise NotPlain(f"a {type(value).__name__} cannot be handed to a program")
        return ["r", value.__dict__["_number"], ""]


def _exception(name: str, message: str) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:
            pass  # such as UnicodeDecodeError, which wants five arguments
    return ProgramError(f"{name}: {message}")


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
        space: dict[str, Any] = {"__name__": "tests"}
        try:
            exec(compile(job["setup"], "setup", "exec"), space)
            space.update(names)
            exec(compile(test, "test", "exec"), space)
            note = "" if not program.is_gone else "the program ended"
        except ProgramEnded:
            note = "the program ended"
        except BaseException as error:  # an AssertionError, most of all
            note = f"{type(error).__name__}: {error}"[:500]
        passed.append(not note)
        notes.append(note)
    program.say({"passed": passed, "notes": notes})
