"""Where brackets begin and end in an answer, and what stands between them side by side."""

from __future__ import annotations

from collections.abc import Iterator

from thickets.tasks.verifiers.expressions.notation import SET_CLOSE, SET_OPEN, WORDS_CLOSE, WORDS_OPEN

OPENING, CLOSING = "([{" + SET_OPEN, ")]}" + SET_CLOSE


def split(text: str, *separators: str) -> list[str]:
    """Split at the separators that stand in no brackets (round, square, curly, of sets or of words)."""
    pieces, start = [], 0
    for at, separator in _outside(text, separators):
        pieces.append(text[start:at])
        start = at + len(separator)
    return [*pieces, text[start:]]


def _outside(text: str, separators: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    depth = 0
    for at, sign in enumerate(text):
        if sign in OPENING + WORDS_OPEN:
            depth += 1
        elif sign in CLOSING + WORDS_CLOSE:
            depth -= 1
        elif depth == 0:
            for separator in separators:
                if text.startswith(separator, at):
                    yield at, separator


def encloses(text: str) -> bool:
    """Return whether the first bracket is closed by the last sign and not before."""
    if len(text) < 2 or text[0] not in OPENING or text[-1] not in CLOSING:
        return False
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in OPENING) - (sign in CLOSING)
        if depth == 0:
            return at == len(text) - 1
    return False
