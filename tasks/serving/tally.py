"""The vote on one question, counted expert by expert until it is decided."""

from __future__ import annotations


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
