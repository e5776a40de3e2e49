"""Objective `logits`: the student matches the mean of the experts' token distributions on the kept responses.

Every expert reads every kept response once. What it expects at each token is kept as its likeliest tokens, one file per
expert, so that a killed pass over K experts goes on at the next. The mean of the truncated distributions, truncated
again and scaled to sum to 1, is the target: cross-entropy against it differs from the Kullback-Leibler divergence by a
constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from thickets.storage.files import atomic_path
from thickets.storage.models.weights import save_tensors
from thickets.tasks.distillation.texts import IGNORED, TrainingText
from thickets.tasks.types import Candidate

_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Targets:
    """Token distributions of every response.

    Attributes:
        ids: Token ids, `[n_tokens, top]`, responses one after another.
        probabilities: Of these tokens, `[n_tokens, top]`; every row sums to 1.
        starts: Where each response begins, and the end: `[n_rows + 1]`.
    """

    ids: torch.Tensor
    probabilities: torch.Tensor
    starts: tuple[int, ...]

    def of_rows(self, rows: Sequence[int], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and probabilities of some responses, one after another, `[n_tokens_of_rows, top]` each."""
        where = torch.cat([torch.arange(self.starts[row], self.starts[row + 1]) for row in rows])
        return self.ids[where].long().to(device), self.probabilities[where].to(device)


def distribution_loss(logits: torch.Tensor, ids: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the student against target distributions: ``-sum_j q_j log p(id_j)``, over the tokens.

    Args:
        logits: ``[n_tokens, n_vocabulary]``.
        ids: ``[n_tokens, top]``.
        probabilities: ``[n_tokens, top]``.
    """
    log_p = torch.log_softmax(logits.float(), dim=-1).gather(1, ids)
    return -(probabilities * log_p).sum(dim=1).mean()


def collect(
    engine: Any,
    experts: Sequence[Candidate],
    texts: Sequence[TrainingText],
    folder: Path,
    *,
    top: int,
    batch_size: int,
    on_expert: Callable[[int], None] = lambda done: None,
) -> Targets:
    """Let every expert read every response, and average what they expect.

    Args:
        engine: A `thickets.tasks.engines.transformers.TransformersEngine` of the run's base.
        experts: The experts, each with the same weight.
        texts: The responses with their prompts.
        folder: One file per expert; those that are there are not made again.
        top: Tokens kept of each distribution.
        batch_size: Responses read together.
        on_expert: Told how many experts are done.
    """
    files = []
    for done, expert in enumerate(experts, start=1):
        path = folder / f"{expert.id}.safetensors"
        if not path.is_file():
            engine.load(expert)
            with atomic_path(path) as temporary:
                save_tensors(_read(engine.model, texts, top, batch_size), temporary)
        files.append(path)
        on_expert(done)
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + text.n_response)
    return Targets(*_mean_of_files(files, top), tuple(starts))


def _mean_of_files(files: Sequence[Path], top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`mean_distribution` of whole files, some tokens at a time: those of 50 experts need not fit into memory."""
    with ExitStack() as stack:
        parts = [stack.enter_context(safe_open(path, framework="pt")) for path in files]
        [n_tokens, _] = parts[0].get_slice("ids").get_shape()
        means = [
            mean_distribution(
                [
                    {name: part.get_slice(name)[start : start + _TOKENS_AT_ONCE] for name in ("ids", "probabilities")}
                    for part in parts
                ],
                top,
            )
            for start in range(0, n_tokens, _TOKENS_AT_ONCE)
        ]
    return torch.cat([ids for ids, _ in means]), torch.cat([probabilities for _, probabilities in means])


def mean_distribution(parts: Sequence[dict[str, torch.Tensor]], top: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Average truncated distributions, truncated to its likeliest tokens and scaled to sum to 1.

    Args:
        parts: ids and probabilities, `[n_tokens, top]`, of every expert.
        top: Tokens to keep.

    Returns:
        Ids (int32) and probabilities (float32), `[n_tokens, top]`.
    """
    ids = torch.cat([part["ids"] for part in parts], dim=1).long()
    weights = torch.cat([part["probabilities"] for part in parts], dim=1) / len(parts)
    ids, order = ids.sort(dim=1, stable=True)
    weights = weights.gather(1, order)
    # A token that several experts name is in neighbouring columns now; the first of them gets the sum.
    is_first = torch.ones_like(ids, dtype=torch.bool)
    is_first[:, 1:] = ids[:, 1:] != ids[:, :-1]
    group = is_first.cumsum(dim=1) - 1
    summed = torch.zeros_like(weights).scatter_add_(1, group, weights)
    named = torch.zeros_like(ids).scatter_(1, group, ids)
    kept, places = summed.topk(min(top, summed.shape[1]), dim=1)
    return named.gather(1, places).int(), kept / kept.sum(dim=1, keepdim=True)


@torch.inference_mode()
def _read(model: Any, texts: Sequence[TrainingText], top: int, batch_size: int) -> dict[str, torch.Tensor]:
    """What a model expects at every token of every response."""
    ids, probabilities = [], []
    for logits in _logits(model, texts, batch_size):
        likely = torch.softmax(logits.float(), dim=-1).topk(min(top, logits.shape[-1]), dim=-1)
        ids.append(likely.indices.int().cpu())
        probabilities.append(likely.values.cpu())
    return {"ids": torch.cat(ids).contiguous(), "probabilities": torch.cat(probabilities).contiguous()}


def _logits(model: Any, texts: Sequence[TrainingText], batch_size: int) -> Iterator[torch.Tensor]:
    """Per batch, the logits that predict the responses' tokens, `[n_tokens, n_vocabulary]`."""
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        longest = max(len(text.input_ids) for text in batch)
        pad = [longest - len(text.input_ids) for text in batch]
        rows = zip(batch, pad, strict=True)
        inputs = torch.tensor([[*text.input_ids, *[0] * n] for text, n in rows], device=model.device)
        labels = torch.tensor([[*text.labels, *[IGNORED] * n] for text, n in zip(batch, pad, strict=True)])
        mask = torch.tensor([[1] * len(text.input_ids) + [0] * n for text, n in zip(batch, pad, strict=True)])
        answered = labels[:, 1:] != IGNORED
        columns = answered.any(dim=0).nonzero()[:, 0].to(model.device)
        logits = model(
            input_ids=inputs, attention_mask=mask.to(model.device), use_cache=False, logits_to_keep=columns
        ).logits
        yield logits[answered[:, columns.cpu()].to(model.device)]
