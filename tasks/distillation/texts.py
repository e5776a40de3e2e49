"""Tokenizes prompts and responses: the loss is on the response alone, its end token included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thickets.storage.errors import InputError
from thickets.tasks.engines.tokenizer import prompt_ids

IGNORED = -100
"""The label that every loss of PyTorch and Transformers leaves out."""


@dataclass(frozen=True, slots=True)
class TrainingText:
    """One row of training data as token ids.

    Attributes:
        input_ids: Prompt, response, end token.
        labels: `IGNORED` for the prompt, else the token.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]

    @property
    def n_response(self) -> int:
        """Tokens that the loss counts."""
        return sum(label != IGNORED for label in self.labels)


def end_token(tokenizer: Any) -> int:
    """Return the token that ends a response: an engine stops at it.

    Raises:
        InputError: The tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise InputError("model: its tokenizer has no end-of-sequence token, so a student could not be taught to stop")
    return int(tokenizer.eos_token_id)


def encode(tokenizer: Any, prompts: Sequence[str], responses: Sequence[str]) -> list[TrainingText]:
    """Tokenize rows as generation has seen them.

    Prompt and response are tokenized apart: when a model answers, its first token also begins anew after the prompt.
    The prompt has its special tokens written out already (`thickets.tasks.engines.prompts`), so none are added
    beyond them.

    Args:
        tokenizer: Of the base.
        prompts: Rendered, `[n_rows]`.
        responses: `[n_rows]`.
    """
    end = end_token(tokenizer)
    read = prompt_ids(tokenizer, prompts)
    response_ids = tokenizer(list(responses), add_special_tokens=False)["input_ids"]
    return [
        TrainingText((*prompt, *response, end), (*[IGNORED] * len(prompt), *response, end))
        for prompt, response in zip(read, response_ids, strict=True)
    ]
