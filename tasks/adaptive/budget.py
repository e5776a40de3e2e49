"""Plans how many candidates a budget pays for, wave by wave, from the cost of the answers so far.

A run under a budget is the run of as many candidates as it could pay for: the population is scored from its beginning,
wave by wave, and the next wave may spend what the rest of the run does not need. Waves shrink towards the
end (each takes half of what is left), so that a wrong forecast costs little when there is little left to correct it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# The rest of a run is forecast from other questions and, for the samples of a control, another temperature.
RESERVE = 1.1


@dataclass(frozen=True, slots=True)
class Need:
    """The cost of a run after its selection split, and of one more candidate.

    Attributes:
        per_answer: Cost of an answer, in the budget's unit.
        answers_per_candidate: Selection answers that one more candidate takes; fewer than there are questions if racing
            drops it.
        answers_later: Answers on the validation and test splits, controls included.
        fixed: Cost of everything but answers: reports, tracking.
    """

    per_answer: float
    answers_per_candidate: float
    answers_later: int
    fixed: float = 0.0

    @property
    def later(self) -> float:
        """Cost of the rest of the run, with the reserve."""
        return RESERVE * self.answers_later * self.per_answer + self.fixed

    @property
    def per_candidate(self) -> float:
        """Cost of one more candidate."""
        return self.per_answer * self.answers_per_candidate


def affordable(budget: float, spent: float, need: Need) -> int:
    """Return how many more candidates the budget pays for."""
    left = budget - spent - need.later
    if left <= 0:
        return 0
    return math.floor(left / need.per_candidate) if need.per_candidate > 0 else 2**31


def next_wave(n_done: int, n_most: int, n_affordable: int, at_once: int) -> int:
    """Return how many candidates to score next; 0 when the budget is spent or no candidate is left.

    Args:
        n_done: Candidates scored so far.
        n_most: Candidates there are.
        n_affordable: See `affordable`.
        at_once: Candidates that keep every engine busy; smaller waves only when there is not more to spend.
    """
    room = min(n_affordable, n_most - n_done)
    if room <= at_once:
        return max(0, room)
    # No wave is larger than all before it: its forecast rests on them.
    return min(max(at_once, room // 2), max(at_once, n_done))
