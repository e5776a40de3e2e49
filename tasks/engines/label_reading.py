"""Reads prompts once and all of their labels behind them, with the keys and values that decoding keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from thickets.tasks.engines.decoding import Prefill, Prefix, prefill
from thickets.tasks.engines.labels import LabelRow

# New tokens of a forward pass per row of a batch: bounds the memory of the logits where labels are long.
_TOKENS_PER_ROW = 16


@dataclass(frozen=True, slots=True)
class LabelBatch:
    """Labels that are read together.

    Attributes:
        rows: Numbers of the prompts.
        longer: Place in `rows` and number of each label of more than one token; those of one are read with the prompt.
    """

    rows: list[int]
    longer: list[tuple[int, int]]


def label_batches(rows: Sequence[LabelRow], batch_size: int) -> Iterator[LabelBatch]:
    """Divide prompts and their labels into batches, shorter prompts first.

    None has more prompts than `batch_size`, nor more labels of several tokens; a prompt with more of these than fit
    stands in several. What is in a batch is a function of the rows alone.

    Args:
        rows: All of them.
        batch_size: Most rows computed together.
    """
    batch, longest = LabelBatch([], []), 0
    for row in sorted(range(len(rows)), key=lambda row: (len(rows[row].context), row)):
        longer = [number for number, tokens in enumerate(rows[row].labels) if len(tokens) > 1]
        if len(batch.rows) == batch_size:
            yield batch
            batch, longest = LabelBatch([], []), 0
        batch.rows.append(row)
        for number in longer:
            most = max(longest, len(rows[row].labels[number]) - 1)
            n_pairs = len(batch.longer) + 1
            if batch.longer and (n_pairs > batch_size or n_pairs * most > batch_size * _TOKENS_PER_ROW):
                yield batch
                batch, most = LabelBatch([row], []), len(rows[row].labels[number]) - 1
            batch.longer.append((len(batch.rows) - 1, number))
            longest = most
    if batch.rows:
        yield batch


@torch.inference_mode()
def read_labels(
    model: Any, rows: Sequence[LabelRow], batch: LabelBatch, prefix: Prefix | None, pad_id: int
) -> dict[tuple[int, int], float]:
    """Return the log-likelihood of the labels of a batch, by number of the prompt and of the label.

    Args:
        model: The model, holding the candidate.
        rows: All prompts.
        batch: Which of them, and which labels.
        prefix: Keys and values of the contexts' common prefix, or None.
        pad_id: Any valid token id; masked.
    """
    longer = [rows[batch.rows[place]].labels[number] for place, number in batch.longer]
    n_new = max((len(tokens) - 1 for tokens in longer), default=0)
    contexts = [rows[row].context for row in batch.rows]
    start = prefill(model, contexts, prefix, n_new, pad_id)
    heads = [(place, number) for place, row in enumerate(batch.rows) for number in range(len(rows[row].labels))]
    tokens_of = {(place, number): rows[batch.rows[place]].labels[number] for place, number in heads}
    first = _log_probabilities(start.logits, [(place, tokens_of[place, number][0]) for place, number in heads])
    found = dict(zip(heads, first, strict=True))
    if longer:
        places = torch.tensor([place for place, _ in batch.longer], device=start.logits.device)
        logits = _read_behind(model, start, places, [tokens[:-1] for tokens in longer], pad_id)
        for step in range(n_new):
            reached = [pair for pair, tokens in enumerate(longer) if len(tokens) > step + 1]
            following = _log_probabilities(logits[:, step], [(pair, longer[pair][step + 1]) for pair in reached])
            for pair, value in zip(reached, following, strict=True):
                found[batch.longer[pair]] += value
    whole = {*batch.longer, *(key for key in heads if len(tokens_of[key]) == 1)}
    return {(batch.rows[place], number): value for (place, number), value in found.items() if (place, number) in whole}


def _read_behind(
    model: Any, start: Prefill, places: torch.Tensor, rows: Sequence[list[int]], pad_id: int
) -> torch.Tensor:
    """Let the model read one row behind each of these prompts, and return the logits ``[n_rows, n_new, n_vocabulary]``.

    Args:
        model: The model, holding the candidate.
        start: The prompts as it has read them; its cache is used up.
        places: Of the prompts, ``[n_rows]``; one may occur several times.
        rows: Token ids.
        pad_id: Any valid token id; it stands behind a row's own tokens, which do not see it.
    """
    n_new = max(map(len, rows))
    device = places.device
    inputs = torch.tensor([row + [pad_id] * (n_new - len(row)) for row in rows], device=device)
    own = torch.tensor([[1] * len(row) + [0] * (n_new - len(row)) for row in rows], device=device)
    steps = torch.arange(n_new, device=device)
    start.cache.batch_select_indices(places)
    result = model(
        input_ids=inputs,
        attention_mask=torch.cat([start.mask[places], own], dim=1),
        position_ids=start.positions[places] + 1 + steps,
        past_key_values=start.cache,
        use_cache=True,
        logits_to_keep=steps,  # as an index, as in decoding
    )
    logits: torch.Tensor = result.logits
    return logits


def _log_probabilities(logits: torch.Tensor, tokens: Sequence[tuple[int, int]]) -> list[float]:
    """Return the log-probability of some tokens, each with its row, of ``[n_rows, n_vocabulary]``."""
    rows, ids = torch.tensor(tokens, device=logits.device).T
    chosen: list[float] = torch.log_softmax(logits.float(), dim=-1)[rows, ids].tolist()
    return chosen
