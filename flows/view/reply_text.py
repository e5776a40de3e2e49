"""Replies as a page may show them: hidden characters visible, long ones cut, the extracted part marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thickets.flows.report.render import visible

MOST_SHOWN = 4000
"""Characters of a reply on a page; more are a link to the whole."""
_AROUND_MARK = 600


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a reply.

    Attributes:
        kind: ``text``, ``mark`` (the extracted part) or ``gap`` (left out; `text` says how much).
        text: With hidden characters made visible.
    """

    kind: Literal["text", "mark", "gap"]
    text: str


def pieces(text: str, span: tuple[int, int] | None, n_characters: int | None = None) -> list[Piece]:
    """Cut a reply into what is shown of it.

    Args:
        text: The reply, or its beginning.
        span: Where the extracted part stands, as far as that can be told.
        n_characters: Length of the whole reply, if `text` is only its beginning.
    """
    total = len(text) if n_characters is None else n_characters
    windows = _windows(len(text), total, span)
    found: list[Piece] = []
    end = 0
    for begin, stop in windows:
        if begin > end:
            found.append(_gap(begin - end))
        found += _marked(text, begin, stop, span)
        end = stop
    if total > end:
        found.append(_gap(total - end))
    return found


def _windows(length: int, total: int, span: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Return the parts that are shown: all of a short reply; else its beginning, and what surrounds the mark."""
    if total <= MOST_SHOWN:
        return [(0, length)]
    head = (0, min(length, MOST_SHOWN - 2 * _AROUND_MARK))
    if span is None:
        return [(0, min(length, MOST_SHOWN))]
    begin = max(span[0] - _AROUND_MARK, 0)
    around = (begin, min(max(span[0], min(span[1], span[0] + _AROUND_MARK)) + _AROUND_MARK, length))
    if around[0] <= head[1]:
        return [(0, max(head[1], around[1]))]
    return [head, around]


def _marked(text: str, begin: int, stop: int, span: tuple[int, int] | None) -> list[Piece]:
    if span is None or span[1] <= begin or span[0] >= stop or span[0] >= span[1]:
        return [Piece("text", visible(text[begin:stop]))]
    first, last = max(span[0], begin), min(span[1], stop)
    parts = [("text", text[begin:first]), ("mark", text[first:last]), ("text", text[last:stop])]
    return [Piece(kind, visible(part)) for kind, part in parts if part]  # type: ignore[arg-type]


def _gap(n: int) -> Piece:
    return Piece("gap", f"{n:,} characters left out")


def snippet(text: str | None, most: int = 160) -> str:
    """Return the beginning of a text on one line."""
    if text is None:
        return ""
    line = " ".join(visible(text[: 4 * most]).split())
    return line if len(line) <= most and len(text) <= 4 * most else line[:most].rstrip() + " …"
