"""How the answers to one question become one: the most frequent answer, or the one that is closest to all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from thickets.tasks.types import FULL
from thickets.tasks.verifiers.texts import PAIRS, Similarities


@runtime_checkable
class HasMetric(Protocol):
    """A problem whose answers may be texts, which are never the same and vote by how similar they are."""

    @property
    def metric(self) -> str | None:
        """Name of the similarity (`thickets.tasks.verifiers.texts.PAIRS`); None: the most frequent answer wins."""
        ...


@dataclass(frozen=True, slots=True)
class Consensus:
    """The rule by which a vote finds its answer, handed to every place that counts votes.

    Attributes:
        metric: None: an answer's votes are those of the experts that gave it. Else the name of a similarity, and the
            answer wins whose mean similarity to the answers of the other experts, weighted by their votes, is largest:
            the answer of least expected loss (minimum Bayes risk: Kumar & Byrne 2004), if the others' answers stand for
            what may be right. What an expert says of its own answer does not count.

    Example:
        >>> from thickets.tasks.problems.consensus import MAJORITY, Consensus
        >>> MAJORITY.is_closest, Consensus("rougeL").is_closest
        (False, True)
    """

    metric: str | None = None

    @property
    def is_closest(self) -> bool:
        """Whether the closest answer wins, not the most frequent."""
        return self.metric is not None

    def pairs(self, texts: Sequence[str]) -> Similarities:
        """Return how similar some answers are, in thousandths, `[n, n]`."""
        return _pairs(self.metric or "", tuple(texts))


@lru_cache(maxsize=1024)  # every rule, every K and the vote itself compare the same answers
def _pairs(metric: str, texts: tuple[str, ...]) -> Similarities:
    found = PAIRS[metric](texts)
    found.flags.writeable = False
    return found


def support(similar: Similarities, powers: Sequence[int]) -> NDArray[np.int64]:
    """Return what the other experts give each answer: their votes times the similarity of their answers.

    Args:
        similar: Of all answers, `[n, n]`.
        powers: The experts' votes.

    Returns:
        `[n, n]`, in thousandths of a vote: for answer i from the first j + 1 experts together.
    """
    given = similar * np.asarray(powers, dtype=np.int64)
    np.fill_diagonal(given, 0)
    return np.cumsum(given, axis=1)


def means(given: NDArray[np.int64], powers: Sequence[int]) -> NDArray[np.float64]:
    """Return each answer's mean similarity to those of the others, 0 to 1; 0 where no other expert has a vote.

    Args:
        given: What the others give it, as `support` sums it up, `[n]`.
        powers: The experts' votes.
    """
    own = np.asarray(powers, dtype=np.int64)
    others = own.sum() - own
    # Whole numbers below 2**53 on both sides, so that equal fractions are equal floats, and a tie is a tie.
    return np.divide(given, FULL * others, out=np.zeros(len(own)), where=others > 0)


MAJORITY = Consensus()


def consensus_of(problem: Any) -> Consensus:
    """Return how a problem's answers vote."""
    return Consensus(problem.metric) if isinstance(problem, HasMetric) else MAJORITY
