"""The vote on one question, counted expert by expert until it is decided."""

from __future__ import annotations

from thickets.tasks.problems.consensus import Consensus, means, support


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
        texts, found = self._compared()
        return texts[found.index(max(found))] if texts else None  # the first of equals

    @property
    def margin(self) -> float:
        """Lead of the mean similarity over that of the next other text; 0 if no other expert has a vote."""
        texts, found = self._compared()
        others = [mean for text, mean in zip(texts, found, strict=True) if text != self.answer]
        return max(found, default=0.0) - max(others, default=0.0)

    @property
    def similarity(self) -> float | None:
        """Mean similarity of the answer to those of the other experts, 0 to 1; None without others."""
        texts, found = self._compared()
        return max(found) if len(texts) > 1 else None

    def _compared(self) -> tuple[list[str], list[float]]:
        """Return the answers, abstentions left out, and their mean similarities to those of the other experts."""
        voted = [(text, power) for text, power in zip(self.ballots, self._powers, strict=False) if text is not None]
        texts, powers = [text for text, _ in voted], [power for _, power in voted]
        if not texts:
            return texts, []
        return texts, [float(mean) for mean in means(support(self._consensus.pairs(texts), powers)[:, -1], powers)]


def make_tally(powers: list[int], consensus: Consensus) -> Tally:
    """Return the tally of a question."""
    return ClosestTally(powers, consensus) if consensus.is_closest else Tally(powers)
