"""Writes candidates over flat weights that one tensor or several share, in as few calls as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from thickets.tasks.engines.average_weights import write_weights
from thickets.tasks.engines.candidate_weights import host_perturber
from thickets.tasks.noise import Family
from thickets.tasks.noise.spec import Part
from thickets.tasks.types import Candidate, Weights


class FusedWeights:
    """Flat weights that a model reads (or what it packs them from), their base, and what of them gets which noise."""

    def __init__(self, live: torch.Tensor, base: torch.Tensor, parts: Sequence[Part], family: Family) -> None:
        """Check how they fit each other.

        Args:
            live: Flat, contiguous weights ``[n]``, on any device.
            base: The pristine weights ``[n]`` of the same dtype, on the same device or in host memory.
            parts: What gets noise, in the order of `live`; the rest is always the base's.
            family: Distribution of the noise.

        Raises:
            InputError: Noise is not defined for the dtype, or the tensors or parts do not fit each other.
        """
        self._live, self._base, self._parts, self._family = live, base, parts, family
        self._on_host = host_perturber(live, base, parts, family) if parts else None

    def write(self, wanted: Weights | None) -> None:
        """Overwrite the weights with a candidate's, an average's or, for None, the base's; the same bits anywhere."""
        if wanted is None or not self._parts:
            self._live.copy_(self._base, non_blocking=True)
        elif isinstance(wanted, Candidate) and self._on_host is not None:
            self._on_host.write(wanted.seed, wanted.sigma)
        else:
            for gap in self._gaps():
                self._live[gap].copy_(self._base[gap], non_blocking=True)
            for part in self._parts:
                here = slice(part.at, part.at + part.size)
                write_weights(
                    self._live[here],
                    self._base[here],
                    name=part.name,
                    weights=wanted,
                    family=self._family,
                    start=part.start,
                    row=part.row,
                    factor=part.factor,
                )

    def _gaps(self) -> Iterator[slice]:
        end = 0
        for part in self._parts:
            if part.at > end:
                yield slice(end, part.at)
            end = part.at + part.size
        if end < len(self._live):
            yield slice(end, None)
