"""The vote on one question, counted expert by expert until it is decided."""

from __future__ import annotations

from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.types import FULL


class Tally:
    """Counts votes in order of rank, until no remaining expert can change the answer.

    The answer is that of `voting.vote` on the full ballots: most votes, and among equals the answer whose
    best-ranked supporter is better.
    """

    def __init__(self, powers: list[int]) -> None:
        """Expect one ballot of each of the experts with these powers, by rank.

        Args:
            powers: Votes that each expert has; >= 0.
        """
        self._powers = powers
        self._left = sum(powers)
        self._votes: dict[str, int] = {}  # in the order of their best-ranked supporters
        self.ballots: list[str | None] = []

    def cast(self, answer: str | None) -> None:
        """Count the next expert's answer; None is an abstention and never a vote."""
        power = self._powers[len(self.ballots)]
        self.ballots.append(answer)
        self._left -= power
        if answer is not None:
            self._votes[answer] = self._votes.get(answer, 0) + power

    @property
    def is_decided(self) -> bool:
        """Whether the answer stays, whatever the remaining experts answer."""
        if len(self.ballots) == len(self._powers):
            return True
        leader = self.answer
        if leader is None:  # any answer, even with a power of 0, would win
            return False
        # One with the better supporter wins at equal votes; any other, and one not heard of yet, needs more.
        is_better = True
        for answer, votes in self._votes.items():
            if answer == leader:
                is_better = False
            elif votes + self._left + is_better > self._votes[leader]:
                return False
        return self._left <= self._votes[leader]

    @property
    def answer(self) -> str | None:
        """The answer so far; None if all have abstained."""
        return max(self._votes, key=self._votes.__getitem__, default=None)  # the first of equals

    @property
    def margin(self) -> float:
        """Lead over the next answer so far, as a share of all votes; 0 if no expert has a vote.

        Experts that do not answer because the vote is decided could have made it larger or smaller.
        """
        first, second = sorted([*self._votes.values(), 0, 0], reverse=True)[:2]
        total = sum(self._powers)
        return (first - second) / total if total else 0.0

    @property
    def n_votes(self) -> int:
        """Experts that gave the answer so far."""
        return sum(ballot is not None and ballot == self.answer for ballot in self.ballots)

    @property
    def similarity(self) -> float | None:
        """Mean similarity of the answer to those of the other experts, 0 to 1, where texts vote; else None."""
        return None


class ClosestTally(Tally):
    """Compares answers that are texts: the closest to all others wins, as in `thickets.tasks.evaluation.closest`.

    The next expert may always write what is closer still, so all must answer.
    """

    def __init__(self, powers: list[int], consensus: Consensus) -> None:
        """Expect one ballot of each of the experts with these powers, by rank.

        Args:
            powers: Votes that each expert has; >= 0.
            consensus: Compares answers.
        """
        super().__init__(powers)
        self._consensus = consensus

    @property
    def is_decided(self) -> bool:
        """Whether all have answered."""
        return len(self.ballots) == len(self._powers)

    @property
    def answer(self) -> str | None:
        """The closest answer so far; None if all have abstained."""
        texts, _, support = self._compared()
        return texts[_first_largest(support)] if texts else None

    @property
    def margin(self) -> float:
        """Lead over the next other text, as a share of all votes; 0 if no expert has a vote."""
        texts, _, support = self._compared()
        others = [votes for text, votes in zip(texts, support, strict=True) if text != self.answer]
        total = FULL * sum(self._powers)
        return (max(support, default=0) - max(others, default=0)) / total if total else 0.0

    @property
    def similarity(self) -> float | None:
        """Mean similarity of the answer to those of the other experts, 0 to 1; None without others that vote."""
        texts, powers, support = self._compared()
        place = _first_largest(support) if texts else 0
        others = sum(powers) - powers[place] if texts else 0
        return (support[place] - FULL * powers[place]) / (FULL * others) if others else None

    def _compared(self) -> tuple[list[str], list[int], list[int]]:
        """Return the answers, abstentions left out, their experts' powers, and their votes in thousandths."""
        voted = [each for each in zip(self.ballots, self._powers, strict=False) if each[0] is not None]
        texts, powers = [text for text, _ in voted if text is not None], [power for _, power in voted]
        if not texts:
            return texts, powers, []
        similar = self._consensus.pairs(texts)
        return texts, powers, [int(votes) for votes in similar @ powers]


def _first_largest(values: list[int]) -> int:
    return values.index(max(values))


def make_tally(powers: list[int], consensus: Consensus) -> Tally:
    """Return the tally of a question."""
    return ClosestTally(powers, consensus) if consensus.is_closest else Tally(powers)
