"""Counts what a training costs, token by token: docs/cost.md says what counts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from thickets.tasks.results.cost import Cost, flops_of


class CostMeter:
    """The cost of a model's training so far. Padding counts for nothing, and neither does work that was lost."""

    def __init__(self, n_parameters: int, so_far: Cost | None = None) -> None:
        """Count on.

        Args:
            n_parameters: Of the model.
            so_far: Cost up to the checkpoint that training goes on from.
        """
        self._n_parameters = n_parameters
        self._cost = so_far or Cost()

    @property
    def cost(self) -> Cost:
        """All so far."""
        return self._cost

    def generated(self, read: Iterable[int], new: Iterable[int]) -> None:
        """Count completions.

        Args:
            read: Tokens of each one's prompt: a prompt is counted once per sample of it.
            new: Tokens of each completion.
        """
        prompts, completions = sum(read), list(new)
        self._add(n_read=prompts, n_generated=sum(completions), n_forward=len(completions))

    def scored(self, n_tokens: int, n_sequences: int) -> None:
        """Count sequences that went forward alone: for the probabilities of the reference or of an older policy."""
        self._add(n_read=n_tokens, n_forward=n_sequences)

    def trained(self, n_tokens: int, n_sequences: int) -> None:
        """Count sequences that went forward and backward."""
        self._add(n_trained=n_tokens, n_forward=n_sequences, n_backward=n_sequences)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count the seconds until the end of `with`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.worked(time.monotonic() - began)

    def worked(self, seconds: float) -> None:
        """Count seconds of work."""
        self._cost += Cost(engine_s=seconds)

    def _add(
        self, *, n_read: int = 0, n_generated: int = 0, n_trained: int = 0, n_forward: int = 0, n_backward: int = 0
    ) -> None:
        self._cost += Cost(
            n_read=n_read,
            n_generated=n_generated,
            n_trained=n_trained,
            n_forward=n_forward,
            n_backward=n_backward,
            flops=flops_of(self._n_parameters, n_read_or_generated=n_read + n_generated, n_trained=n_trained),
        )
