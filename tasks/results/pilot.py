"""What a pilot learnt about the sigmas, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PilotSigma(BaseModel):
    """One sigma.

    Attributes:
        sigma: In units of the weights.
        n_candidates: Candidates of the pilot.
        n_correct: Their correct answers, all together.
        spread: Standard deviation to expect of their true accuracies, the noise of the scores taken off.
        millionths: Share of the later candidates that get this sigma, in millionths.
    """

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    n_correct: int
    spread: float
    millionths: int

    @property
    def share(self) -> float:
        """Share of the later candidates that get this sigma."""
        return self.millionths / 1_000_000


class Pilot(BaseModel):
    """The beginning of a population, and what it says about the rest.

    Attributes:
        n_candidates: Candidates of the pilot.
        n_questions: Selection questions that each of them was asked: all of them.
        sigmas: In ascending order.
    """

    model_config = ConfigDict(frozen=True)

    n_candidates: int
    n_questions: int
    sigmas: tuple[PilotSigma, ...]

    def accuracy(self, row: PilotSigma) -> float:
        """Mean accuracy of the pilot's candidates of a sigma."""
        return row.n_correct / (row.n_candidates * self.n_questions)
