"""Answers questions by vote: experts answer in order of rank, each only the questions whose vote is still open."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from thickets.storage.errors import InputError
from thickets.tasks.engines.base import Engine
from thickets.tasks.engines.prompts import Template
from thickets.tasks.problems.base import HasImages, Problem
from thickets.tasks.problems.consensus import Consensus, consensus_of
from thickets.tasks.problems.judging import Judge
from thickets.tasks.problems.labelled import labels_of
from thickets.tasks.serving.questions import Outcome, Question, Voter
from thickets.tasks.serving.walk import Walk
from thickets.tasks.types import Example, Sampling, question_id


@dataclass(frozen=True, slots=True)
class Answer:
    """The vote on one question.

    Attributes:
        answer: As the problem extracts it; None if all abstained.
        margin: Lead over the next answer when the last expert had answered, as a share of all votes; where texts vote,
            of the mean similarity.
        n_votes: Experts that gave the answer.
        ballots: Answers of the experts that answered, by rank; None is an abstention.
        n_tokens: Tokens generated for it, all experts together.
        similarity: Mean similarity of the answer to those of the other experts, 0 to 1, where texts vote and there are
            others; else None.
    """

    answer: str | None
    margin: float
    n_votes: int
    ballots: tuple[str | None, ...]
    n_tokens: int
    similarity: float | None = None

    @property
    def n_asked(self) -> int:
        """Number of experts that answered."""
        return len(self.ballots)


@dataclass(frozen=True, slots=True)
class Answers:
    """The votes on some questions, in their order.

    Attributes:
        rows: One per question.
        k: Experts that may vote.
    """

    rows: tuple[Answer, ...]
    k: int

    @property
    def n_calls(self) -> int:
        """Number of answers that experts gave."""
        return sum(row.n_asked for row in self.rows)

    @property
    def saved(self) -> float:
        """Share of the experts' answers that were not needed; 0 without questions."""
        return 1 - self.n_calls / (self.k * len(self.rows)) if self.rows else 0.0


class Answerer:
    """An engine, a prompt template and the voters. Threads may share it; it answers one call at a time.

    Attributes:
        judge: Extracts answers, as the run did.
    """

    def __init__(
        self, engine: Engine, template: Template, judge: Judge, sampling: Sampling, voters: Sequence[Voter]
    ) -> None:
        self._engine, self._template, self.judge = engine, template, judge
        self._sampling = sampling
        self._voters = tuple(voters)
        self._found: dict[int, Outcome] = {}
        self._walk = Walk[int](engine, judge, None, on_done=lambda place, outcome: self._found.update({place: outcome}))
        self._lock = threading.Lock()

    @property
    def k(self) -> int:
        """Number of experts."""
        return len(self._voters)

    @property
    def problem(self) -> Problem:
        """The problem whose rules extract and judge the answers."""
        return self.judge.problem

    @property
    def consensus(self) -> Consensus:
        """How answers vote."""
        return consensus_of(self.problem)

    def ask(self, questions: Sequence[str], *, k: int = 0, temperature: float = 0.0, every: bool = False) -> Answers:
        """Answer questions that have no gold answer; see `answer`.

        Raises:
            InputError: A question is empty or would need an image, or see `answer`.
        """
        if isinstance(self.problem, HasImages) and self.problem.asks_about_images:
            raise InputError(
                "question: these experts answer questions about images, and no image can be given here; put questions "
                "and images into a file of the data's form, and give it to thickets evaluate"
            )
        for question in questions:
            if not question.strip():
                raise InputError("question: is empty; every question must have text")
        # Stripped as questions of data files are, so that the same question is the same prompt.
        examples = [Example(question_id(text), text, "") for text in map(str.strip, questions)]
        return self.answer(examples, k=k, temperature=temperature, every=every)

    def answer(
        self, examples: Sequence[Example], *, k: int = 0, temperature: float = 0.0, every: bool = False
    ) -> Answers:
        """Let the first `k` experts vote on every question.

        In order of rank, each expert answers all questions whose vote is still open (see `Walk`); where texts vote,
        that is every question to the end. The answers are those of a vote of all `k`; but in bfloat16 an expert's text
        depends a little on the other questions of its batch, so an answer may differ from the run's.

        Args:
            examples: The questions. Extraction alone looks at them; gold answers may be empty.
            k: How many experts vote, the best first; 0: all.
            temperature: 0: each expert's likeliest tokens; else every expert draws, with a seed of its own that is the
                same at every call.
            every: Let all `k` answer every question, also after its vote is decided.

        Raises:
            InputError: `k` or `temperature` is out of range, or a prompt is too long for the model.
        """
        if not 0 <= k <= self.k:
            raise InputError(f"k: found {k}; 1 to {self.k} experts can vote, or 0 for all")
        if not 0 <= temperature <= 2:
            raise InputError(f"temperature: found {temperature}; 0 (greedy) to 2 are allowed")
        voters = self._voters[: k or self.k]
        prompts = [self._template.render(self.problem.messages(example)) for example in examples]
        labels = labels_of(self.problem, self._template, examples)
        sampling = replace(self._sampling, temperature=temperature)
        seeds, consensus = tuple(map(_seed, voters)), self.consensus
        questions = {
            place: Question(
                prompt,
                example,
                voters,
                replace(sampling, labels=labels and labels.of([place])),
                consensus,
                is_of_all=every,
                seeds=seeds,
            )
            for place, (prompt, example) in enumerate(zip(prompts, examples, strict=True))
        }
        with self._lock:
            self._found = {}
            self._walk.run(questions)
            found = [self._found[place] for place in questions]
        return Answers(tuple(map(_answer, found)), len(voters))

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def _answer(outcome: Outcome) -> Answer:
    return Answer(
        outcome.answer, outcome.margin, outcome.n_votes, outcome.ballots, outcome.n_tokens, outcome.similarity
    )


def _seed(voter: Voter) -> int:
    name = voter.weights.id if voter.weights else "base"
    return int.from_bytes(hashlib.blake2b(f"thickets answer 1:{name}".encode(), digest_size=8).digest(), "little")
