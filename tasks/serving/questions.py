"""A question to some weights of one engine, and what became of it: the values of `walk` and `dispatcher`."""

from __future__ import annotations

from dataclasses import dataclass, field

from thickets.storage.errors import ThicketsError
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.serving.answerer import Voter
from thickets.tasks.serving.tally import Tally, make_tally
from thickets.tasks.types import Completion, Example, Prompt, Sampling


class EngineLostError(ThicketsError):
    """The engine ended, or could not be started; the same question may be answered later."""


@dataclass(frozen=True, slots=True)
class Question:
    """A rendered prompt and who answers it.

    Attributes:
        prompt: As the engine takes it.
        example: What extraction looks at; it has no gold answer.
        voters: By rank; a single model is one voter.
        sampling: How to decode; with labels, those of this question alone.
        consensus: How answers vote.
        is_alone: Its seed was given, and draws depend on a prompt's place in a call: it gets a call of its own.
        is_random: Every call draws with a new seed.
        is_of_all: All voters answer, also after the vote is decided.
    """

    prompt: Prompt
    example: Example
    voters: tuple[Voter, ...]
    sampling: Sampling
    consensus: Consensus
    is_alone: bool = False
    is_random: bool = False
    is_of_all: bool = False

    @property
    def n_certain(self) -> int:
        """Voters that answer whatever they answer: the first so many cannot decide the vote with fewer.

        In which order they do cannot change who is asked, and so neither the answer.
        """
        powers = [voter.power for voter in self.voters]
        if self.is_of_all or self.consensus.is_closest:
            return len(powers)
        return next(n for n in range(1, len(powers) + 1) if sum(powers[:n]) >= sum(powers[n:]))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The vote on a question, and the completion that speaks for it.

    Attributes:
        completion: Of the best-ranked voter among those whose answer won; of the best-ranked one if all abstained.
        rank: Of that voter; 1 is the best.
        answer: As the problem extracts it; None if all abstained.
        margin: As in `answerer.Answer`.
        n_votes: Voters that gave the answer.
        ballots: Answers of the voters that were asked, by rank; None is an abstention.
        n_tokens: Tokens generated for it, all voters together.
        similarity: As in `answerer.Answer`.
    """

    completion: Completion
    rank: int
    answer: str | None
    margin: float
    n_votes: int
    ballots: tuple[str | None, ...]
    n_tokens: int
    similarity: float | None


@dataclass(slots=True, eq=False)
class Ballots:
    """The answers to a question so far, which may come out of order."""

    question: Question
    completions: dict[int, Completion] = field(default_factory=dict)
    answers: dict[int, str | None] = field(default_factory=dict)

    def wants(self, place: int) -> bool:
        """Return whether the voter at a place (0 is the best) is to answer now."""
        if place in self.answers:
            return False
        return place < self.question.n_certain or (place == len(self.answers) and not self.is_decided)

    def add(self, place: int, completion: Completion, answer: str | None) -> None:
        """Keep the answer of the voter at a place."""
        self.completions[place], self.answers[place] = completion, answer

    @property
    def is_decided(self) -> bool:
        """Whether nobody need answer any more."""
        n, certain = len(self.answers), self.question.n_certain
        # The first `n_certain` come in any order; behind them one follows the other.
        return n == len(self.question.voters) or (n >= certain and self._tally().is_decided)

    def _tally(self) -> Tally:
        tally = make_tally([voter.power for voter in self.question.voters], self.question.consensus)
        for place in range(len(self.answers)):
            tally.cast(self.answers[place])
        return tally

    def outcome(self) -> Outcome:
        """Count the votes, once they are decided."""
        tally = self._tally()
        place = 0 if tally.answer is None else tally.ballots.index(tally.answer)
        return Outcome(
            self.completions[place],
            place + 1,
            tally.answer,
            tally.margin,
            tally.n_votes,
            tuple(tally.ballots),
            sum(completion.n_tokens for completion in self.completions.values()),
            tally.similarity,
        )
