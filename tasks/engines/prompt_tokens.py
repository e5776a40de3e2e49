"""The tokens of a prompt, as they can be shown to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A rendered prompt as its model reads it.

    Attributes:
        ids: The token ids; None for a token without one.
        texts: The text of each token by itself; part of a character shows as U+FFFD.
        bos: The text of the token that begins a sequence; None if the tokenizer has none.
        n_bos: How many of these stand at the beginning; 0 without one.
    """

    ids: tuple[int | None, ...]
    texts: tuple[str, ...]
    bos: str | None = None
    n_bos: int = 0


def prompt_tokens(tokenizer: Any, ids: Sequence[int]) -> PromptTokens:
    """Show the token ids of a prompt.

    Args:
        tokenizer: The model's.
        ids: The prompt's, as the engine reads it.
    """
    texts = tuple(str(tokenizer.decode([token])) for token in ids)
    n_bos = sum(1 for _ in takewhile(lambda token: token == tokenizer.bos_token_id, ids))
    return PromptTokens(tuple(ids), texts, tokenizer.bos_token, n_bos)
