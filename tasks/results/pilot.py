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
        points: Sum of their scores in thousandths; None where each correct answer is worth 1000, and others nothing.
    """

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    n_correct: int
    spread: float
    millionths: int
    points: int | None = None

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
        """Return the mean score of the pilot's candidates of a sigma."""
        n = row.n_candidates * self.n_questions
        return row.n_correct / n if row.points is None else row.points / (1000 * n)
