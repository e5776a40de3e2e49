"""Takes a model's thoughts out of its reply."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple


class Thoughts(NamedTuple):
    """What begins and what ends a thought.

    Attributes:
        begin: The tag before a thought; upper and lower case are the same.
        end: The tag behind it.
        is_open: Whether a reply begins inside a thought, because its prompt ends with the tag that begins one.
    """

    begin: str
    end: str
    is_open: bool = False


THOUGHT_TAGS = ("<think>", "</think>")


def after_thought(text: str, tags: tuple[str, str] | Thoughts = THOUGHT_TAGS) -> str | None:
    """Return what a reply says after its last thought, which is the reply's end; None if that is not finished.

    A reply may hold the end alone: many chat templates open the thought in the prompt. A tag that begins a thought
    again before anything is thought is the same thought's; one in the midst of a thought needs an end of its own.
    """
    thoughts = Thoughts(*tags)
    depth, start, empty_since = int(thoughts.is_open), 0, 0
    for tag in _pattern(thoughts.begin, thoughts.end).finditer(text):
        if tag.lastgroup == "end":
            depth, start = max(0, depth - 1), tag.end()
        elif depth == 0 or text[empty_since : tag.start()].strip():
            depth += 1
        empty_since = tag.end()
    return None if depth else text[start:]


def thought(text: str, tags: tuple[str, str] | Thoughts = THOUGHT_TAGS) -> str:
    """Return what stands before what a reply says, tags included; the whole reply if its thought is not finished."""
    said = after_thought(text, tags)
    return text if said is None else text[: len(text) - len(said)]


def ends_in_thought(prompt: str, tags: tuple[str, str]) -> bool:
    """Return whether a prompt ends with the tag that begins a thought, so that replies begin inside one."""
    return prompt.rstrip().lower().endswith(tags[0].lower())


@cache
def _pattern(begin: str, end: str) -> re.Pattern[str]:
    # The longer tag first: one may begin like the other.
    named = sorted({"begin": begin, "end": end}.items(), key=lambda item: -len(item[1]))
    return re.compile("|".join(f"(?P<{name}>{re.escape(tag)})" for name, tag in named), re.IGNORECASE)
