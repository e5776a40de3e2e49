"""Tells where an answer ends: at an end-of-sequence token, or at a stop string, which is cut off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class StopChecker:
    """Tells whether a row has ended, by token or by stop string."""

    def __init__(self, tokenizer: Any, eos_ids: frozenset[int], stop: Sequence[str]) -> None:
        self._tokenizer, self._eos_ids, self._stop = tokenizer, eos_ids, tuple(stop)
        # A token is at least one byte and a character at most four, so this tail always covers the longest string.
        self._tail = max((4 * len(text) for text in self._stop), default=0) + 4

    def ended(self, tokens: list[int]) -> bool:
        """Return whether the last token completes the row."""
        if tokens[-1] in self._eos_ids:
            return True
        if not self._stop:
            return False
        tail = self._tokenizer.decode(tokens[-self._tail :], skip_special_tokens=True)
        return any(text in tail for text in self._stop)

    def text(self, tokens: list[int]) -> tuple[str, bool]:
        """Decode a completion, cut it at its stop string, and return whether it ended by itself."""
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        cuts = [position for stop in self._stop if (position := text.find(stop)) >= 0]
        ended = bool(cuts) or tokens[-1] in self._eos_ids
        return (text[: min(cuts)] if cuts else text), ended
