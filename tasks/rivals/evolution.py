"""Rounds of evolution strategies: which models and questions a round has, and the step that its scores make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from thickets.tasks.merging.directions import Shaping
from thickets.tasks.merging.evolution import Step, mirrored
from thickets.tasks.problems.splits import Split, content_sha256
from thickets.tasks.seeds import candidates_of, population
from thickets.tasks.types import Candidate, Merge, Respondent

_SEEDS, _QUESTIONS = "thickets es 1", "thickets es questions 1"


@dataclass(frozen=True, slots=True)
class Round:
    """The models of one round.

    Attributes:
        candidates: Drawn for this round alone.
        mirrors: They have mirror images, which are scored as well.
    """

    candidates: tuple[Candidate, ...]
    mirrors: bool

    @property
    def respondents(self) -> list[Respondent]:
        """All models: the candidates, then their mirror images in the same order."""
        return [*self.candidates, *(mirrored(each) for each in self.candidates if self.mirrors)]

    def step(self, rewards: Sequence[float], learning_rate: float, shaping: Shaping) -> Merge | None:
        """Return the step that the scores make from the round's model, as the model after it.

        Args:
            rewards: One per respondent, in their order.
            learning_rate: Times the mean of worth times noise, in weights: that of `Step` divided by sigma, so that the
                length of a step does not depend on sigma.
            shaping: How scores become worths.

        Returns:
            None where all scores are equal.
        """
        n = len(self.candidates)
        mirrors = rewards[n:] if self.mirrors else None
        return Step(learning_rate * self.candidates[0].sigma, shaping).take(self.candidates, rewards[:n], mirrors)


def draw_round(size: int, sigma: float, seed: int, number: int, *, antithetic: bool) -> Round:
    """Draw the models of a round; they depend on nothing but these values.

    Args:
        size: Models to score; even if `antithetic`, where half of them are mirror images.
        sigma: Scale of the noise.
        seed: Of all rounds.
        number: Of the round, from 0.
        antithetic: Whether every candidate has its mirror image.
    """
    key = int.from_bytes(hashlib.blake2b(f"{_SEEDS}:{seed}:{number}".encode(), digest_size=8).digest(), "little")
    drawn = population(size // 2 if antithetic else size, [sigma], key)
    return Round(tuple(candidates_of(drawn)), antithetic)


def draw_questions(split: Split, n: int, seed: int, number: int) -> Split:
    """Draw the questions of a round.

    Args:
        split: What there is to learn from.
        n: How many; if there are not more, all of them in their order.
        seed: Of all rounds.
        number: Of the round, from 0.
    """
    if n >= len(split.examples):
        return split

    def lot(example_id: str) -> bytes:
        # Not a library's shuffle: the draw must not depend on a version.
        return hashlib.sha256(f"{_QUESTIONS}:{json.dumps([seed, number, example_id])}".encode()).digest()

    drawn = tuple(sorted(split.examples, key=lambda example: lot(example.id))[:n])
    return Split(split.name, drawn, content_sha256(drawn))


def rewards_of(answers: pl.DataFrame, respondents: Sequence[str]) -> list[float]:
    """Return the mean score of each respondent, 0 to 1000.

    Args:
        answers: candidate_id, score; of every respondent on the same questions.
        respondents: Ids, in the order wanted.
    """
    totals = dict(answers.group_by("candidate_id").agg(pl.col("score").cast(pl.Int64).sum()).iter_rows())
    n_questions = answers.height / len(respondents)
    return [totals[who] / n_questions for who in respondents]
