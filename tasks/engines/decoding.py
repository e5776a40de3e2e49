"""Decoding that computes a shared prompt prefix once and drops rows as they finish.

A plain padded ``generate`` call computes the common prefix of the prompts (system message, instruction) for every
row, and keeps computing rows that have ended until the last one does. Here the prefix runs once per candidate, rows are
grouped by length, and the batch shrinks. ``benchmarks/generation.py`` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from thickets.tasks.engines.sampling import TokenChooser
from thickets.tasks.engines.stops import StopChecker

# Dropping rows copies the keys and values of those that stay, so it waits until this share of the batch has ended.
_DROP_SHARE = 0.125


@dataclass(frozen=True, slots=True)
class Prefix:
    """Keys and values of a common prompt prefix under the present weights.

    Attributes:
        tokens: Token ids, `[n_prefix]`.
        layers: Per layer, keys and values of shape `[1, n_heads, n_prefix, head_dim]`.
    """

    tokens: tuple[int, ...]
    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]


class _PreallocatedLayer(DynamicLayer):
    """A key-value layer that writes new tokens in place instead of copying the whole cache at every step."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, n_rows: int, capacity: int) -> None:
        super().__init__()
        n_heads, self._length, head_dim = keys.shape[1:]
        self._keys = keys.new_empty(n_rows, n_heads, capacity, head_dim)
        self._values = values.new_empty(n_rows, n_heads, capacity, values.shape[-1])
        self._keys[:, :, : self._length] = keys
        self._values[:, :, : self._length] = values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._publish()

    def _publish(self) -> None:
        self.keys = self._keys[:, :, : self._length]
        self.values = self._values[:, :, : self._length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self._length + key_states.shape[2]
        self._keys[:, :, self._length : end] = key_states
        self._values[:, :, self._length : end] = value_states
        self._length = end
        self._publish()
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        self._keys, self._values = self._keys[indices], self._values[indices]
        self._publish()

    def mark(self) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Return what `go_back` needs to come back to the present state; nothing is copied.

        Later tokens are written behind it, and rows that are dropped leave its tensors as they are.
        """
        return self._keys, self._values, self._length

    def go_back(self, mark: tuple[torch.Tensor, torch.Tensor, int]) -> None:
        """Come back to an earlier state, for other tokens in place of those since."""
        self._keys, self._values, self._length = mark
        self._publish()


def common_prefix(rows: Sequence[list[int]]) -> int:
    """Count the leading tokens that all rows share, leaving every row at least one token of its own."""
    if len(rows) < 2:
        return 0
    # The least and the greatest row in lexicographic order share what all rows share.
    first, last = min(rows), max(rows)
    limit = min(len(row) for row in rows) - 1
    for position in range(limit):
        if first[position] != last[position]:
            return position
    return limit


@torch.inference_mode()
def compute_prefix(model: PreTrainedModel, tokens: Sequence[int]) -> Prefix | None:
    """Run the prefix once.

    Returns:
        Its keys and values, or None where the model's cache is not a plain one per layer (sliding windows, recurrent
        states), which cannot be extended from the outside.
    """
    cache = DynamicCache(config=model.config)
    inputs = torch.tensor([list(tokens)], device=model.device)
    result = model(input_ids=inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers = result.past_key_values.layers
    if not all(type(layer) is DynamicLayer for layer in layers):
        return None
    return Prefix(tuple(tokens), tuple((layer.keys, layer.values) for layer in layers))


@dataclass(slots=True)
class _Row:
    """A prompt being answered: its place in the batch and the tokens so far."""

    index: int
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class Prefill:
    """A batch of prompts that the model has read: decoding begins here, as often as these prompts are sampled.

    Attributes:
        prompts: Token ids per row.
        cache: Keys and values of all rows, with room for `max_tokens` more each.
        marks: State of each layer of the cache behind the prompts; empty where it cannot come back to it.
        logits: Of every row's first new token, ``[n_rows, n_vocabulary]``.
        mask: Attention mask of what is in the cache, ``[n_rows, n_columns]``.
        positions: Position of every row's last token, ``[n_rows, 1]``.
        max_tokens: Most new tokens per row.
    """

    prompts: tuple[tuple[int, ...], ...]
    cache: DynamicCache
    marks: tuple[tuple[torch.Tensor, torch.Tensor, int], ...]
    logits: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    max_tokens: int

    def serves(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> bool:
        """Return whether decoding can begin here again, for these prompts."""
        return bool(self.marks) and max_tokens == self.max_tokens and self.prompts == tuple(map(tuple, prompts))

    @property
    def n_bytes(self) -> int:
        """Memory of its keys and values; 0 where it cannot be used again."""
        return sum(keys.nbytes + values.nbytes for keys, values, _ in self.marks)

    def rewind(self) -> None:
        """Forget every token behind the prompts."""
        for layer, mark in zip(self.cache.layers, self.marks, strict=bool(self.marks)):
            layer.go_back(mark)


# Returns embeddings, ``[n_rows, n_columns, width]``, and positions, ``[3, n_rows, n_columns]``, of padded token ids
# with their mask: how prompts with images are read.
Embed: TypeAlias = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@torch.inference_mode()
def prefill(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    prefix: Prefix | None,
    max_tokens: int,
    pad_id: int,
    embed: Embed | None = None,
) -> Prefill:
    """Let the model read one batch of prompts.

    Args:
        model: The model, holding the candidate.
        prompts: Token ids per row, the prefix included; rows should be of similar length.
        prefix: Keys and values of the rows' common prefix, or None to compute whole prompts.
        max_tokens: Most new tokens per row.
        pad_id: Any valid token id; masked.
        embed: Of prompts with images: makes what the model reads in place of tokens; such prompts share no prefix.
    """
    n_prefix = len(prefix.tokens) if prefix else 0
    suffixes = [list(row[n_prefix:]) for row in prompts]
    n_suffix = max(len(row) for row in suffixes)
    device = model.device
    # Padding stands between the shared prefix and the row's own tokens, so that all rows end in the same column.
    inputs = torch.tensor([[pad_id] * (n_suffix - len(row)) + row for row in suffixes], device=device)
    own = torch.tensor([[0] * (n_suffix - len(row)) + [1] * len(row) for row in suffixes], device=device)
    mask = torch.cat([own.new_ones(len(prompts), n_prefix), own], dim=1)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, n_prefix:]
    cache = _cache(model, prefix, len(prompts), n_prefix + n_suffix + max_tokens)
    if embed is None:
        logits = _forward(model, inputs, mask, positions, cache)
    else:
        embeddings, places = embed(inputs, mask)
        logits = _forward(model, embeddings, mask, places, cache, reads="inputs_embeds")
        positions = places[0]  # of text, as the last tokens are, all three are one
    marks = tuple(layer.mark() for layer in cache.layers if isinstance(layer, _PreallocatedLayer))
    return Prefill(tuple(map(tuple, prompts)), cache, marks, logits, mask, positions[:, -1:], max_tokens)


@torch.inference_mode()
def decode(model: PreTrainedModel, start: Prefill, checker: StopChecker, chooser: TokenChooser) -> list[list[int]]:
    """Decode one batch.

    Args:
        model: The model, holding the candidate that has read the prompts.
        start: The prompts as it has read them.
        checker: When a row has ended.
        chooser: Picks the tokens.

    Returns:
        New token ids per row, in the order of the prompts.
    """
    start.rewind()
    cache, logits, mask, last = start.cache, start.logits, start.mask, start.positions
    rows = [_Row(index, []) for index in range(len(start.prompts))]
    answers: list[list[int]] = [row.tokens for row in rows]
    ended = [False] * len(rows)
    for step in range(start.max_tokens):
        chosen = chooser.choose(logits, [row.index for row in rows], step)
        for place, token in enumerate(chosen.tolist()):
            if not ended[place]:
                rows[place].tokens.append(token)
                ended[place] = checker.ended(rows[place].tokens)
        if all(ended) or step + 1 == start.max_tokens:
            break
        if sum(ended) >= _DROP_SHARE * len(rows):
            keep = [place for place, done in enumerate(ended) if not done]
            kept = torch.tensor(keep, device=chosen.device)
            cache.batch_select_indices(kept)
            chosen, mask, last = chosen[kept], mask[kept], last[kept]
            rows, ended = [rows[place] for place in keep], [False] * len(keep)
        last = last + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        logits = _forward(model, chosen[:, None], mask, last, cache)
    return answers


def _forward(
    model: PreTrainedModel,
    inputs: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    cache: DynamicCache,
    reads: str = "input_ids",
) -> torch.Tensor:
    """Read further tokens, ``[n_rows, n_new]``, into the cache; return the logits behind the last of them."""
    result: Any = model(
        **{reads: inputs},
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        # As an index, not as the number 1: that gives a strided view, for which PyTorch copies the whole
        # vocabulary matrix once per row in bfloat16 (more than half of the time on CPU).
        logits_to_keep=torch.tensor([inputs.shape[1] - 1], device=inputs.device),
    )
    logits: torch.Tensor = result.logits[:, -1]
    return logits


def _cache(model: PreTrainedModel, prefix: Prefix | None, n_rows: int, capacity: int) -> DynamicCache:
    if prefix is None:
        return DynamicCache(config=model.config)
    cache = DynamicCache()
    cache.layers = [_PreallocatedLayer(keys, values, n_rows, capacity) for keys, values in prefix.layers]
    return cache
