"""Discordance of tasks over the same candidates, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RankedTask(BaseModel):
    """One task of a comparison, and the noise in its ranking of the candidates.

    Attributes:
        task: Its label.
        n_questions: Questions that each candidate answered.
        halves: Discordance of the task with itself on two halves of its questions, mean over many halvings. None where
            there is no correlation.
        reliability: Correlation to be expected with as many other questions of the same task, from `halves`
            (Spearman-Brown). 0 and below: the ranking is noise. None where `halves` is.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    n_questions: int
    halves: float | None
    reliability: float | None


class LeftOut(BaseModel):
    """A task without a ranking of the candidates, and the reason."""

    model_config = ConfigDict(frozen=True)

    task: str
    reason: str


class SigmaDiscordance(BaseModel):
    """Discordance of some tasks over the candidates of one sigma, with 95 % bootstrap intervals over candidates.

    Attributes:
        sigma: Of all candidates.
        n_candidates: Candidates that every task has scored.
        tasks: The tasks compared; rows and columns of the matrices below.
        left_out: The tasks without a ranking.
        reason: Why there is no value, or None.
        value: D. 0: the tasks rank the candidates alike; about 1: their rankings have nothing to do with one another;
            2, of two tasks: opposed.
        low: Lower end of its interval; None for fewer than 10 candidates, or if too many have equal scores.
        high: Upper end.
        floor: The D to be expected if all tasks truly ranked the candidates alike, given how noisy each ranking is.
            None where a task has no reliability.
        excess: `value` minus `floor`.
        excess_low: Lower end of its interval; None as above, or if there is no floor.
        excess_high: Upper end.
        correlations: Rank correlation of each pair of tasks, `[n_tasks][n_tasks]`.
        n_experts: How many of each task's experts are among the candidates.
        expert_percentiles: `[a][b]`: mean percentile, 0 to 1, of task a's experts among the candidates as task b ranks
            them. Candidates drawn at random have 0.5; on the diagonal the experts were chosen for it.
    """

    model_config = ConfigDict(frozen=True)

    sigma: float
    n_candidates: int
    tasks: tuple[RankedTask, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    reason: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    excess: float | None = None
    excess_low: float | None = None
    excess_high: float | None = None
    correlations: tuple[tuple[float, ...], ...] = ()
    n_experts: tuple[int, ...] = ()
    expert_percentiles: tuple[tuple[float | None, ...], ...] = ()

    @property
    def is_more_than_noise(self) -> bool | None:
        """Whether the tasks rank differently beyond their noise: the excess's interval is above 0."""
        return None if self.excess_low is None else self.excess_low > 0
