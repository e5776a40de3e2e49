"""A pilot's estimates per sigma, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PilotSigma(BaseModel):
    """One sigma of a pilot.

    Attributes:
        sigma: In units of the weights.
        n_candidates: Candidates of the pilot.
        n_correct: Sum of their correct answers.
        spread: Standard deviation to expect of their true accuracies, without the noise of the scores.
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
    """The first candidates of a population, and the shares of the sigmas among the later ones.

    Attributes:
        n_candidates: Candidates of the pilot.
        n_questions: Questions of the selection split; every candidate of the pilot answers all of them.
        sigmas: In ascending order.
    """

    model_config = ConfigDict(frozen=True)

    n_candidates: int
    n_questions: int
    sigmas: tuple[PilotSigma, ...]

    def accuracy(self, row: PilotSigma) -> float:
        """Return the mean accuracy of the pilot's candidates of a sigma."""
        return row.n_correct / (row.n_candidates * self.n_questions)
