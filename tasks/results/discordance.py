"""How differently tasks rank the same candidates, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RankedTask(BaseModel):
    """One task of a comparison, and how much of its ranking of the candidates is noise.

    Attributes:
        task: Its label.
        n_questions: Questions each candidate was asked.
        halves: Discordance of the task with itself on two halves of its questions, mean over many halvings. None where
            it cannot be told.
        reliability: Correlation to be expected with as many other questions of the same task, from `halves`
            (Spearman-Brown). 0 and below: the ranking is noise. None where it cannot be told.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    n_questions: int
    halves: float | None
    reliability: float | None


class LeftOut(BaseModel):
    """A task that ranks nothing, and why."""

    model_config = ConfigDict(frozen=True)

    task: str
    reason: str


class SigmaDiscordance(BaseModel):
    """Discordance of some tasks over the candidates of one sigma, with 95 % bootstrap intervals over candidates.

    Attributes:
        sigma: Of all of them.
        n_candidates: Candidates that every task has scored.
        tasks: Those compared; rows and columns of the matrices below.
        left_out: Those that could not be.
        reason: Why there is no value, or None.
        value: D. 0: the tasks rank the candidates alike; about 1: their rankings have nothing to do with one another;
            2, of two tasks: opposed.
        low: Lower end of its interval; None for fewer than 10 candidates, or if too many have equal scores.
        high: Upper end.
        floor: The D to be expected if all tasks truly ranked the candidates alike, given how noisy each ranking is.
            None where a task's noise cannot be told.
        excess: `value` minus `floor`.
        excess_low: Lower end of its interval; None as above, or if there is no floor.
        excess_high: Upper end.
        correlations: Rank correlation of each pair of tasks, `[n_tasks][n_tasks]`.
        n_experts: How many of each task's experts are among the candidates.
        expert_percentiles: `[a][b]`: mean percentile, 0 to 1, of task a's experts among the candidates as task b ranks
            them. 0.5 is what candidates drawn at random have; on the diagonal they were chosen for it.
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
