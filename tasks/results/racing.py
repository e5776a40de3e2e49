"""What racing asked and what it saved, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RaceRound(BaseModel):
    """One block of the selection split.

    Attributes:
        n_questions: Its questions.
        n_candidates: Candidates that were asked them, the base left out.
    """

    model_config = ConfigDict(frozen=True)

    n_questions: int
    n_candidates: int


class Race(BaseModel):
    """A selection split that was asked in rounds.

    Attributes:
        z: See `thickets.tasks.adaptive.racing.Rule`.
        keep: See there.
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
        """Questions that every candidate was asked: what is said about all candidates rests on these."""
        everybody = self.rounds[0].n_candidates
        return sum(each.n_questions for each in self.rounds if each.n_candidates == everybody)

    @property
    def n_complete(self) -> int:
        """Candidates that were asked all questions: only these are ranked."""
        return self.rounds[-1].n_candidates

    @property
    def n_answers(self) -> int:
        """Answers that candidates gave to selection questions."""
        return sum(each.n_questions * each.n_candidates for each in self.rounds)

    @property
    def n_answers_of_all(self) -> int:
        """Answers that it would have taken to ask every candidate everything."""
        return self.n_questions * self.rounds[0].n_candidates

    @property
    def saved(self) -> float:
        """Share of these that were not needed."""
        return 1 - self.n_answers / self.n_answers_of_all
