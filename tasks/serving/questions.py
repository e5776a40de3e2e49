"""A question to some weights of one engine, and what became of it: the values of `walk` and `dispatcher`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from thickets.storage.errors import RunError, ThicketsError
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.serving.tally import Tally, make_tally
from thickets.tasks.types import Completion, Example, Prompt, Sampling, Weights


class EngineLostError(ThicketsError):
    """The engine ended, or could not be started; the same question may be answered later."""


class UnjudgedError(RunError):
    """The verifier failed at a reply, so that the question has no answer.

    Attributes:
        may_pass: Whether the same question may be answered later.
    """

    def __init__(self, message: str, may_pass: bool) -> None:
        super().__init__(message)
        self.may_pass = may_pass


@dataclass(frozen=True, slots=True)
class Voter:
    """One expert of an ensemble, or a single model.

    Attributes:
        weights: What the engine loads; None is the base.
        power: Number of votes it has.
    """

    weights: Weights | None
    power: int = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A rendered prompt and who answers it.

    Attributes:
        prompt: As the engine takes it.
        example: What extraction looks at; it has no gold answer.
        voters: By rank, no weights twice; a single model is one voter.
        sampling: How to decode; with labels, those of this question alone.
        consensus: How answers vote.
        is_alone: Its seed was given, and draws depend on a prompt's place in a call: it gets a call of its own.
        is_random: Every call draws with a new seed.
        is_of_all: All voters answer, also after the vote is decided.
        seeds: Of each voter's draws; empty: that of `sampling`.
    """

    prompt: Prompt
    example: Example
    voters: tuple[Voter, ...]
    sampling: Sampling
    consensus: Consensus
    is_alone: bool = False
    is_random: bool = False
    is_of_all: bool = False
    seeds: tuple[int, ...] = ()

    def sampling_of(self, place: int) -> Sampling:
        """Return how the voter at a place (0 is the best) decodes."""
        return replace(self.sampling, seed=self.seeds[place]) if self.seeds else self.sampling

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
        margin: Lead over the next answer when the last voter had answered, as a share of all votes; where texts vote,
            of the mean similarity.
        n_votes: Voters that gave the answer.
        ballots: Answers of the voters that were asked, by rank; None is an abstention.
        n_tokens: Tokens generated for it, all voters together.
        similarity: Mean similarity of the answer to those of the others, 0 to 1, where texts vote and there are others;
            else None.
    """

    completion: Completion
    rank: int
    answer: str | None
    margin: float
    n_votes: int
    ballots: tuple[str | None, ...]
    n_tokens: int
    similarity: float | None


class Ballots:
    """The answers to a question so far. The first `Question.n_certain` voters may answer in any order."""

    def __init__(self, question: Question) -> None:
        """Hold none yet."""
        self.question = question
        self.places: dict[Weights | None, int] = {voter.weights: i for i, voter in enumerate(question.voters)}
        self._n_certain = question.n_certain
        self._tally: Tally = make_tally([voter.power for voter in question.voters], question.consensus)
        self._early: dict[int, str | None] = {}  # answers of voters ahead of whom another has still to answer
        # Of each answer the completion of its best voter: thousands of questions may be asked at once.
        self._best: dict[str | None, tuple[int, Completion]] = {}
        self._n_tokens = 0

    def wants(self, place: int) -> bool:
        """Return whether the voter at a place (0 is the best) is to answer now."""
        n = len(self._tally.ballots)
        if place < n or place in self._early:
            return False
        return place < self._n_certain or (place == n and not self.is_decided)

    def add(self, place: int, completion: Completion, answer: str | None) -> None:
        """Count the answer of the voter at a place."""
        best = self._best.get(answer)
        if best is None or place < best[0]:
            self._best[answer] = place, completion
        self._n_tokens += completion.n_tokens
        self._early[place] = answer
        while (upcoming := len(self._tally.ballots)) in self._early:
            self._tally.cast(self._early.pop(upcoming))

    @property
    def is_decided(self) -> bool:
        """Whether nobody need answer any more."""
        n = len(self._tally.ballots)
        return n == len(self.question.voters) or (n >= self._n_certain and self._tally.is_decided)

    def outcome(self) -> Outcome:
        """Return the vote, once it is decided."""
        tally = self._tally
        place, completion = self._best[tally.answer]
        return Outcome(
            completion,
            place + 1,
            tally.answer,
            tally.margin,
            tally.n_votes,
            tuple(tally.ballots),
            self._n_tokens,
            tally.similarity,
        )
