"""Chooses the next token: the likeliest one, or a draw that depends on seed, row and step alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from thickets.tasks.noise.reference import philox4x32
from thickets.tasks.noise.spec import seed_key
from thickets.tasks.types import Sampling


class TokenChooser:
    """Chooses tokens for a batch.

    A row's draws do not depend on which rows it is decoded with, nor on which of them have ended. One number is drawn
    per token, and the token is the one whose interval of the cumulated probabilities it falls into: noise for every
    entry of the vocabulary (Gumbel) would cost as much as a small model.
    """

    def __init__(self, sampling: Sampling, places: Sequence[int]) -> None:
        """Choose as `sampling` says for rows that stand at `places` among all prompts."""
        self._temperature = sampling.temperature
        self._seed = sampling.seed
        self._places = np.asarray(places, dtype=np.uint32)

    def choose(self, logits: torch.Tensor, rows: Sequence[int], step: int) -> torch.Tensor:
        """Choose the next token of some rows.

        Args:
            logits: ``[n_rows, n_vocabulary]``, any floating type.
            rows: Indices in the batch, one per row of `logits`.
            step: Number of tokens that each of them has so far.

        Returns:
            Token ids ``[n_rows]``.
        """
        if self._temperature == 0:
            return logits.argmax(dim=-1)
        if logits.device.type == "mps":  # which has no float64
            return self.choose(logits.cpu(), rows, step).to(logits.device)
        reached = torch.softmax(logits.float() / self._temperature, dim=-1).cumsum(dim=-1, dtype=torch.float64)
        drawn = torch.from_numpy(uniforms(self._seed, self._places[list(rows)], step)).to(logits.device)
        tokens = torch.searchsorted(reached, drawn[:, None] * reached[:, -1:], right=True)
        return tokens[:, 0].clamp(max=logits.shape[-1] - 1)


def uniforms(seed: int, places: NDArray[np.uint32], step: int) -> NDArray[np.float64]:
    """Draw numbers between 0 and 1, both excluded: philox4x32-10 (docs/design.md#noise) of counter (place, step, 0, 0).

    Args:
        seed: The key, unsigned 64 bits.
        places: ``[n_rows]``.
        step: The token's position in the completion.

    Returns:
        float64 ``[n_rows]``, multiples of 2**-33.
    """
    counter = np.zeros((len(places), 4), dtype=np.uint32)
    counter[:, 0], counter[:, 1] = places, step
    words = philox4x32(counter, seed_key(seed))[:, 0].astype(np.float64)
    return (words + np.float64(0.5)) / np.float64(2**32)
