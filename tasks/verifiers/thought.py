"""Takes a model's thoughts out of its reply."""

from __future__ import annotations

THOUGHT_TAGS = ("<think>", "</think>")


def after_thought(text: str, tags: tuple[str, str] = THOUGHT_TAGS) -> str | None:
    """Return what a reply says after its last thought; None if that is not finished.

    A reply may hold the end alone: many chat templates open the thought in the prompt.
    """
    begin, end = tags
    _, found, rest = text.rpartition(end)
    said = rest if found else text
    return None if begin in said else said
