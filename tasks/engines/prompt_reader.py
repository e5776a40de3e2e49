"""Tokenizes the prompts of a block once, however many candidates answer them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from thickets.tasks.engines.tokenizer import prompt_ids

# Of all prompts kept together; some 40 bytes each.
_MOST_KEPT_IDS = 1 << 20


class PromptReader:
    """Returns the token ids of prompts, and keeps those of the lists that were asked for last."""

    def __init__(self, tokenizer: Any, most_kept: int = _MOST_KEPT_IDS) -> None:
        """Tokenize nothing yet.

        Args:
            tokenizer: As `load_tokenizer` gives it.
            most_kept: Most token ids to keep; the list asked for last is kept however long it is.
        """
        self._tokenizer, self._most_kept = tokenizer, most_kept
        self._kept: OrderedDict[tuple[str, ...], list[list[int]]] = OrderedDict()
        self._n_kept = 0

    def ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return token ids, a list per prompt; to be read, never changed."""
        key = tuple(prompts)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        rows = prompt_ids(self._tokenizer, prompts)
        self._kept[key] = rows
        self._n_kept += _count(rows)
        while self._n_kept > self._most_kept and len(self._kept) > 1:
            self._n_kept -= _count(self._kept.popitem(last=False)[1])
        return rows


def _count(rows: Sequence[Sequence[int]]) -> int:
    return sum(map(len, rows))
