"""What GRPO is trained on: the selection split's questions as they are scored, their order, and their rewards."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from thickets.tasks.engines.stops import StopChecker
from thickets.tasks.problems.judging import Judge
from thickets.tasks.types import FULL, Example

Reward: TypeAlias = Callable[[Sequence[str], Sequence[Example]], Sequence[float]]
"""Rewards whole completions, given the questions that they answer."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The training data.

    Attributes:
        examples: The questions.
        prompts: As the run's template has rendered them, one per question; they are tokenized as for scoring.
    """

    examples: tuple[Example, ...]
    prompts: tuple[str, ...]

    def order(self, n: int, seed: int) -> list[int]:
        """Draw the questions of a training in advance: every one once before any comes again.

        Args:
            n: How many.
            seed: The order is a function of it and of the number of questions.

        Returns:
            Places among the questions, ``[n]``.
        """
        draw = random.Random(f"thickets grpo order 1:{seed}")
        found: list[int] = []
        while len(found) < n:
            found += draw.sample(range(len(self.examples)), len(self.examples))
        return found[:n]


def rollout_seed(seed: int, step: int) -> int:
    """Return the seed of the samples that are drawn after `step` steps: the same, however often training was killed."""
    digest = hashlib.blake2b(f"thickets grpo rollout 1:{seed}:{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def reward_of(judge: Judge) -> Reward:
    """Return the run's own verdicts as rewards: a completion's score, from 0 to 1; an abstention has 0."""

    def reward(texts: Sequence[str], examples: Sequence[Example]) -> list[float]:
        return [verdict.score / FULL for verdict in judge.judge(texts, examples)]

    return reward


class RewardFunction:
    """The reward in the form in which TRL's trainer asks for it."""

    __name__ = "verifier"  # by which TRL logs it

    def __init__(self, examples: Sequence[Example], reward: Reward, checker: StopChecker) -> None:
        """Reward completions to `examples`, decoded and cut at their stop string as in a run."""
        self._examples, self._reward, self._checker = examples, reward, checker

    def __call__(self, *, completion_ids: Sequence[list[int]], row: Sequence[int], **_: Any) -> list[float]:
        """Return a reward for each completion.

        Args:
            completion_ids: Token ids of each.
            row: The place of the question that it answers.
        """
        texts = [self._checker.text(list(ids))[0] for ids in completion_ids]
        return list(self._reward(texts, [self._examples[place] for place in row]))
