"""The rounds of a race and the answers they saved, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RaceRound(BaseModel):
    """One block of the selection split.

    Attributes:
        n_questions: Its questions.
        n_candidates: Candidates that answered them, without the base.
    """

    model_config = ConfigDict(frozen=True)

    n_questions: int
    n_candidates: int


class Race(BaseModel):
    """A selection split answered in rounds, with fewer candidates in each.

    Attributes:
        z: See `thickets.tasks.adaptive.racing.Rule`.
        keep: See `thickets.tasks.adaptive.racing.Rule`.
        rounds: In their order; at least two.
    """

    model_config = ConfigDict(frozen=True)

    z: float
    keep: float | None
    rounds: tuple[RaceRound, ...]

    @property
    def n_questions(self) -> int:
        """Questions of the selection split."""
        return sum(each.n_questions for each in self.rounds)

    @property
    def n_common(self) -> int:
        """Questions that every candidate answered: statistics over all candidates use these only."""
        n_all = self.rounds[0].n_candidates
        return sum(each.n_questions for each in self.rounds if each.n_candidates == n_all)

    @property
    def n_complete(self) -> int:
        """Candidates that answered all questions: only these are ranked."""
        return self.rounds[-1].n_candidates

    @property
    def n_answers(self) -> int:
        """Answers of candidates to selection questions."""
        return sum(each.n_questions * each.n_candidates for each in self.rounds)

    @property
    def n_answers_of_all(self) -> int:
        """Answers that a run without racing has: every candidate, every question."""
        return self.n_questions * self.rounds[0].n_candidates

    @property
    def saved(self) -> float:
        """Share of `n_answers_of_all` that racing saved."""
        return 1 - self.n_answers / self.n_answers_of_all
