"""One pass over the experts for a batch of questions: each weights are loaded once, for all questions that need them.

A question ends as soon as its vote is decided, so a question to the base does not wait for an ensemble's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

from thickets.storage.errors import InputError
from thickets.tasks.engines.base import Engine
from thickets.tasks.problems.judging import Judge
from thickets.tasks.serving.questions import Ballots, Outcome, Question
from thickets.tasks.types import Completion, Sampling, Weights

T = TypeVar("T")


def order_of(questions: Sequence[Question], held: Weights | None) -> list[Weights | None]:
    """Return the weights that some questions need, in the order of their loading.

    What the engine holds comes first, if every question that it answers is certain to ask it. Models that answer alone
    come next: nobody waits for them for long. Experts follow by rank, because a vote is decided by the best.

    Args:
        questions: Their ensembles are the first so many of one list of experts, each.
        held: What the engine holds.
    """
    places: dict[Weights | None, int] = {}
    for question in questions:
        alone = len(question.voters) == 1
        for place, voter in enumerate(question.voters):
            places[voter.weights] = max(places.get(voter.weights, -1), -1 if alone else place)
    order = sorted(places, key=places.__getitem__)
    if held in places and all(_is_certain(question, held) for question in questions):
        order.remove(held)
        order.insert(0, held)
    return order


def _is_certain(question: Question, held: Weights | None) -> bool:
    """Return whether a question asks these weights in any case, or in none."""
    weights = [voter.weights for voter in question.voters]
    return held not in weights or weights.index(held) < question.n_certain


class Walk(Generic[T]):
    """Asks a batch of questions.

    Attributes:
        n_loads: How often the engine was given other weights.
        held: What the engine holds.
        under_way: The questions that the engine was last used for.
    """

    def __init__(
        self,
        engine: Engine,
        judge: Judge,
        held: Weights | None,
        *,
        on_done: Callable[[T, Outcome], None],
        on_refused: Callable[[T, InputError], None] | None = None,
        on_unjudged: Callable[[T, Exception], None] | None = None,
        is_wanted: Callable[[T], bool] = lambda key: True,
    ) -> None:
        """Walk nowhere yet.

        Args:
            engine: Answers.
            judge: Extracts answers.
            held: What the engine holds.
            on_done: Called with every question that is decided, at once.
            on_refused: Called with a question that the engine refuses, and the others go on; None: `run` raises it.
            on_unjudged: Called with a question at one of whose replies the judge fails; None as above.
            is_wanted: Whether a question still has somebody who waits for it.
        """
        self._engine, self._judge, self.held, self.n_loads = engine, judge, held, 0
        self._on_done, self._on_refused, self._on_unjudged = on_done, on_refused, on_unjudged
        self._is_wanted = is_wanted
        self._open: dict[T, Ballots] = {}
        self.under_way: list[T] = []

    def run(self, questions: dict[T, Question]) -> None:
        """Ask all questions.

        Raises:
            EngineLostError: The engine has ended, at the questions that were `under_way`; this walk does no others.
            InputError: The engine refuses a question, and nobody is called for that.
        """
        self._open = {key: Ballots(question) for key, question in questions.items()}
        order = order_of(list(questions.values()), self.held)
        for step, weights in enumerate(order):
            asked = self._who_asks(weights)
            if not asked:
                continue
            self.under_way = list(asked)
            self._load(weights)
            upcoming = next((each for each in order[step + 1 :] if self._who_asks(each, later=True)), None)
            if upcoming is not None:
                self._engine.prepare(upcoming)
            for group in _groups({key: (self._open[key].question, place) for key, place in asked.items()}):
                self._ask(group, asked)

    def _who_asks(self, weights: Weights | None, *, later: bool = False) -> dict[T, int]:
        """Return the place of the weights' voter in every question that asks it now, or may ask it `later`."""
        found = {}
        for key, ballots in self._open.items():
            place = ballots.places.get(weights)
            if place is not None and (later or ballots.wants(place)) and self._is_wanted(key):
                found[key] = place
        return found

    def _load(self, weights: Weights | None) -> None:
        self.n_loads += weights != self.held
        self._engine.load(weights)
        self.held = weights

    def _ask(self, group: list[T], places: dict[T, int]) -> None:
        """Ask questions that one call can answer; if the engine refuses them together, each alone."""
        try:
            completions = self._generate(group, places)
        except InputError as error:
            if self._on_refused is None:
                raise
            if len(group) > 1:
                for key in group:
                    self._ask([key], places)
                return
            del self._open[group[0]]
            self._on_refused(group[0], error)
            return
        for key, completion in zip(group, completions, strict=True):
            try:
                outcome = self._judged(key, places[key], completion)
            except Exception as error:  # a verifier may be the user's own, and raise whatever it likes
                if self._on_unjudged is None:
                    raise
                del self._open[key]
                self._on_unjudged(key, error)
                continue
            if outcome is not None:
                del self._open[key]
                self._on_done(key, outcome)

    def _generate(self, group: list[T], places: dict[T, int]) -> list[Completion]:
        self.under_way = group
        questions = [self._open[key].question for key in group]
        sampling = questions[0].sampling_of(places[group[0]])
        return self._engine.generate([question.prompt for question in questions], _joint_sampling(sampling, questions))

    def _judged(self, key: T, place: int, completion: Completion) -> Outcome | None:
        """Count a reply; return the outcome if that decides the vote."""
        ballots = self._open[key]
        ballots.add(place, completion, self._judge.extract(completion.text, ballots.question.example))
        return ballots.outcome() if ballots.is_decided else None


def _groups(asked: dict[T, tuple[Question, int]]) -> list[list[T]]:
    """Divide questions, each with the place of who is asked, into those that one call can answer, in their order."""
    groups: dict[object, list[T]] = {}
    for key, (question, place) in asked.items():
        sampling = question.sampling_of(place)
        labels = sampling.labels
        alike = replace(sampling, labels=labels and replace(labels, of_prompts=()))
        groups.setdefault((alike, question.is_random, key if question.is_alone else None), []).append(key)
    return list(groups.values())


def _joint_sampling(sampling: Sampling, questions: Sequence[Question]) -> Sampling:
    """Return the sampling that questions have in common, with a new seed if each call has one, and all their labels."""
    if questions[0].is_random:
        sampling = replace(sampling, seed=secrets.randbits(64))
    if sampling.labels is None:
        return sampling
    labels = [question.sampling.labels for question in questions]
    joint = tuple(row for each in labels if each is not None for row in each.of_prompts)
    return replace(sampling, labels=replace(sampling.labels, of_prompts=joint))
