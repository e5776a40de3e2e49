"""Evolution strategies: the step that a population's rewards estimate, as a merge (Salimans et al. 2017).

The gradient of the expected reward of theta + sigma * z, z ~ N(0, I), is E[reward * z] / sigma. With N candidates a
step of plain gradient ascent is ``theta + learning_rate / (N * sigma) * sum(worth_i * z_i)`` (arXiv 1703.03864,
algorithm 1): a weighted sum of the candidates' noise, so seeds and rewards are all that is needed to make it again, in
float32, tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thickets.storage.errors import InputError
from thickets.tasks.merging.directions import Shaping, shaped
from thickets.tasks.types import Candidate, Merge


def mirrored(candidate: Candidate) -> Merge:
    """Return the model on the other side of the base: theta - sigma * z."""
    return Merge((candidate,), (-1.0,))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of evolution strategies.

    Attributes:
        learning_rate: Times the estimated gradient of the mean worth, in weights.
        shaping: How rewards become worths.
    """

    learning_rate: float
    shaping: Shaping = "z_score"

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate is {self.learning_rate!r}; it must be a number > 0")

    def take(
        self, candidates: Sequence[Candidate], rewards: Sequence[float], mirrors: Sequence[float] | None = None
    ) -> Merge | None:
        """Return the model after the step.

        Args:
            candidates: ``[n]``, all of one sigma.
            rewards: ``[n]``, in the same order.
            mirrors: ``[n]``, of the candidates' `mirrored` selves; None where there are none.

        Returns:
            None where all rewards are equal: the step has no direction.

        Raises:
            InputError: Candidates of several sigmas, or lengths that differ.
        """
        n = len(candidates)
        if len(rewards) != n or (mirrors is not None and len(mirrors) != n):
            raise InputError(f"rewards: found {len(rewards)} for {n} candidates")
        sigmas = {candidate.sigma for candidate in candidates}
        if len(sigmas) != 1:
            raise InputError(f"sigma: found {sorted(sigmas)}; a step of evolution strategies has one")
        [sigma] = sigmas
        worths = shaped([*rewards, *(mirrors or ())], self.shaping)
        each = worths[:n] - worths[n:] if mirrors is not None else worths
        # A coefficient multiplies sigma * z, and not z.
        scale = self.learning_rate / (len(worths) * sigma * sigma)
        pairs = [(one, float(scale * worth)) for one, worth in zip(candidates, each, strict=True) if worth != 0]
        if not pairs:
            return None
        return Merge(tuple(one for one, _ in pairs), tuple(coefficient for _, coefficient in pairs))
