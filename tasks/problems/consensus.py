"""How the answers to one question become one: the most frequent answer, or the one that is closest to all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

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
        metric: None: an answer's votes are those of the experts that gave it. Else the name of a similarity: every
            expert gives every answer as large a part of its vote as that is similar to its own answer, and the largest
            sum wins. That is the answer of least expected loss (minimum Bayes risk: Kumar & Byrne 2004), if the
            experts' answers, weighted by their votes, stand for the answers that may be right.

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


MAJORITY = Consensus()


def consensus_of(problem: Any) -> Consensus:
    """Return how a problem's answers vote."""
    return Consensus(problem.metric) if isinstance(problem, HasMetric) else MAJORITY
