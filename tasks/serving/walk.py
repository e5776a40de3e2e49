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
from thickets.tasks.types import Completion, Labels, Sampling, Weights

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
    """

    def __init__(
        self,
        engine: Engine,
        judge: Judge,
        held: Weights | None,
        *,
        on_done: Callable[[T, Outcome], None],
        on_refused: Callable[[T, InputError], None],
        is_wanted: Callable[[T], bool] = lambda key: True,
    ) -> None:
        """Walk nowhere yet.

        Args:
            engine: Answers.
            judge: Extracts answers.
            held: What the engine holds.
            on_done: Called with every question that is decided, at once.
            on_refused: Called with a question that the engine refuses; the others go on.
            is_wanted: Whether a question still has somebody who waits for it.
        """
        self._engine, self._judge, self.held, self.n_loads = engine, judge, held, 0
        self._on_done, self._on_refused, self._is_wanted = on_done, on_refused, is_wanted
        self._open: dict[T, Ballots] = {}

    def run(self, questions: dict[T, Question]) -> None:
        """Ask all questions.

        Raises:
            EngineLostError: The engine has ended; questions that are not done by then never will be.
        """
        self._open = {key: Ballots(question) for key, question in questions.items()}
        order = order_of(list(questions.values()), self.held)
        for step, weights in enumerate(order):
            asked = self._who_asks(weights)
            if not asked:
                continue
            self._load(weights)
            upcoming = next((each for each in order[step + 1 :] if self._who_asks(each, later=True)), None)
            if upcoming is not None:
                self._engine.prepare(upcoming)
            for group in _groups({key: self._open[key].question for key in asked}):
                self._ask(group, asked)

    def _who_asks(self, weights: Weights | None, *, later: bool = False) -> dict[T, int]:
        """Return the place of the weights' voter in every question that asks it now, or may ask it `later`."""
        found = {}
        for key, ballots in self._open.items():
            places = (i for i, voter in enumerate(ballots.question.voters) if voter.weights == weights)
            place = next(places, None)
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
            completions = self._generate(group)
        except InputError as error:
            if len(group) > 1:
                for key in group:
                    self._ask([key], places)
                return
            del self._open[group[0]]
            self._on_refused(group[0], error)
            return
        for key, completion in zip(group, completions, strict=True):
            ballots = self._open[key]
            ballots.add(places[key], completion, self._judge.extract(completion.text, ballots.question.example))
            if ballots.is_decided:
                del self._open[key]
                self._on_done(key, ballots.outcome())

    def _generate(self, group: list[T]) -> list[Completion]:
        questions = [self._open[key].question for key in group]
        return self._engine.generate([question.prompt for question in questions], _joint_sampling(questions))


def _groups(questions: dict[T, Question]) -> list[list[T]]:
    """Divide questions into those that one call can answer, in their order."""
    groups: dict[object, list[T]] = {}
    for key, question in questions.items():
        labels = question.sampling.labels
        alike = replace(question.sampling, labels=labels and replace(labels, of_prompts=()))
        groups.setdefault((alike, question.is_random, key if question.is_alone else None), []).append(key)
    return list(groups.values())


def _joint_sampling(questions: Sequence[Question]) -> Sampling:
    first = questions[0].sampling
    if questions[0].is_random:
        first = replace(first, seed=secrets.randbits(64))
    if first.labels is None:
        return first
    labels = [question.sampling.labels for question in questions]
    joint = tuple(row for each in labels if each is not None for row in each.of_prompts)
    return replace(first, labels=Labels(joint, first.labels.gap, first.labels.per))
