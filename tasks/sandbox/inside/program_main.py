"""The process of a program: runs its text, then answers calls of its functions, one line of JSON each.

The program shares this process and may do to it what it likes: all that leaves it is the value of a call.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .beginning import open_pipes, restricted
from .values import NotPlain, decode, encode


class _Kept:
    """Objects that the tests hold by number."""

    def __init__(self) -> None:
        self._objects: list[Any] = []

    def keep(self, value: Any) -> list[Any]:
        self._objects.append(value)
        return ["r", len(self._objects) - 1, type(value).__name__[:100]]

    def get(self, number: int, _: str = "") -> Any:
        return self._objects[number]


def main() -> None:
    """Run the program that the first line holds, then answer a call a line, to the end of the input."""
    requests, replies = open_pipes()
    source = json.loads(requests.readline())["source"]
    restricted(sys.argv[2:], requests)
    kept = _Kept()
    # Not "__main__": what a script does when it is run is no part of its functions.
    space: dict[str, Any] = {"__name__": "program"}

    def reply(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    def said(make: Any) -> dict[str, Any]:
        try:
            return {"value": encode(make(), kept.keep)}
        except NotPlain as error:
            return {"raised": ["ValueError", str(error)]}
        except BaseException as error:  # SystemExit too
            return {"raised": [type(error).__name__[:100], str(error)[:500]]}

    def run() -> None:
        exec(compile(source, "program", "exec"), space)

    def is_of_program(name: Any, value: Any) -> bool:
        return type(name) is str and not name.startswith("__") and type(value) is not type(sys)

    def form(value: Any) -> Any:
        try:
            return encode(value, kept.keep)
        except BaseException:
            return kept.keep(value)

    begun = said(run)
    if "raised" in begun:
        reply(begun)
        return
    reply({"value": ["d", *([name, form(value)] for name, value in space.items() if is_of_program(name, value))]})
    for line in requests:
        ask = json.loads(line)

        def answer(ask: dict[str, Any] = ask) -> Any:
            target = kept.get(ask["on"])
            if "name" in ask:
                return getattr(target, ask["name"])
            arguments = decode(ask["arguments"], kept.get)
            return target(*arguments, **decode(ask["named"], kept.get))

        reply(said(answer))
