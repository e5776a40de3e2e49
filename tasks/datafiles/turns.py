"""Reads chat turns, as verl, TRL and most chat data write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thickets.tasks.datafiles.columns import json_inside, kind, quoted
from thickets.tasks.datafiles.source import Source
from thickets.tasks.types import Message

_ROLES = ("system", "user", "assistant")


def chat_in(value: Any) -> list[Any] | None:
    """Return the turns that a value holds: a list of objects with a role, or JSON text of one; else None."""
    if isinstance(value, str) and '"role"' in value:
        value = json_inside(value)
    if isinstance(value, (list, tuple)) and value and all(isinstance(turn, Mapping) for turn in value):
        return list(value)
    return None


def read_turns(source: Source, place: str, turns: list[Any]) -> list[Message]:
    """Check and convert turns; the last one is the user's, which is the question.

    Raises:
        InputError: A turn is not one of the three roles with text, the system's is not the first, or the last is not
            the user's.
    """
    read = [_turn(source, place, number, turn) for number, turn in enumerate(turns, start=1)]
    roles = [turn["role"] for turn in read]
    column = source.question_column
    if "system" in roles[1:]:
        where = roles.index("system", 1) + 1
        raise source.error(f"turn {where} of column {column!r} is the system's; only the first may be", place)
    if roles[-1] == "assistant":
        raise source.error(
            f"column {column!r} ends in a turn of the assistant's, so nothing is asked; if that is the answer, set "
            f"problem.question_column to {column}[:-1] and problem.answer_column to {column}[-1].content",
            place,
        )
    if roles[-1] == "system":
        raise source.error(f"column {column!r} has a system turn and no user turn, so nothing is asked", place)
    return read


def _turn(source: Source, place: str, number: int, turn: Mapping[str, Any]) -> Message:
    where = f"turn {number} of column {source.question_column!r}"
    if "role" not in turn or "content" not in turn:
        raise source.error(f'{where} has {quoted(turn)}; a turn is {{"role": "user", "content": "..."}}', place)
    role = turn["role"]
    if role not in _ROLES:
        raise source.error(f"{where} is of role {str(role)[:40]!r}; allowed are {', '.join(_ROLES)}", place)
    if turn.get("tool_calls"):
        raise source.error(f"{where} calls tools; only text can be asked", place)
    content = _content(source, place, where, turn["content"])
    if role != "system" and not content.strip():
        raise source.error(f"{where} is empty", place)
    if any("\ud800" <= character <= "\udfff" for character in content):
        raise source.error(f"{where} is not text (half of a surrogate pair)", place)
    return {"role": role, "content": content}


def _content(source: Source, place: str, where: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if not isinstance(content, (list, tuple)) or not all(isinstance(part, Mapping) for part in content):
        raise source.error(f"{where} holds {kind(content)} as content; it must be text", place)
    texts = []
    for part in content:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            found = part.get("type")
            raise source.error(f"{where} holds a part of type {str(found)[:40]!r}; only text can be asked", place)
        texts.append(part["text"])
    return "\n".join(texts)
