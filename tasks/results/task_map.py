"""The map of candidates by tasks, as values. Models only, like `thickets.tasks.results.evaluation`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.intervals import Difference
from thickets.tasks.results.thicket import BestCandidate


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class MappedTask(_Value):
    """One task of a map.

    Attributes:
        task: Its label.
        n_questions: Questions that each candidate answered.
        base: Mean score of the base on these questions, 0 to 1.
    """

    task: str
    n_questions: int
    base: float


class MappedCandidate(_Value):
    """One candidate on every task; each tuple has one entry per task.

    Attributes:
        candidate_id: Its seed and sigma as one name.
        over_base: Its mean score minus that of the base on the same questions, -1 to 1.
        percentiles: Its percentile among the candidates of its sigma, 0 to 1; ties have their mean.
        differs: Whether McNemar's test tells it from the base at 5 %; of twenty that are as good, one is told from it.
        is_expert: Whether the task's own run selected it.
    """

    candidate_id: str
    over_base: tuple[float, ...]
    percentiles: tuple[float, ...]
    differs: tuple[bool, ...]
    is_expert: tuple[bool, ...]

    @property
    def mean_percentile(self) -> float:
        """Mean of its percentiles."""
        return sum(self.percentiles) / len(self.percentiles)


class Overlap(_Value):
    """How many of the best candidates two tasks have in common, among the candidates of one sigma.

    Attributes:
        n_best: Candidates that count as best: a quarter. Of several with equal scores at the edge each counts in part.
        shares: `[a][b]`: share of task a's best that are among task b's best. On the diagonal: the task with itself on
            two halves of its questions; on whole splits, two tasks that rank alike have as much in common or more. None
            where a task gives all candidates one score.
        by_chance: Share to be expected if tasks have nothing to do with each other.
        low: Lower end of what chance gives in 95 % of all orders, `[a][b]`.
        high: Upper end.
    """

    n_best: int
    shares: tuple[tuple[float | None, ...], ...]
    by_chance: float
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]

    def is_outside(self, a: int, b: int) -> bool:
        """Whether two tasks have more or less in common than chance gives in 95 %; not of a task with itself."""
        value = self.shares[a][b]
        return a != b and value is not None and not self.low[a][b] - 1e-9 <= value <= self.high[a][b] + 1e-9


class SigmaMap(_Value):
    """The candidates of one sigma, those that every task has scored.

    Attributes:
        candidates: By falling mean percentile, then by id.
        best: Of each task, the best candidate of this sigma, and what luck makes of it.
        overlap: None for fewer than 8 candidates.
    """

    sigma: float
    candidates: tuple[MappedCandidate, ...]
    best: tuple[BestCandidate, ...]
    overlap: Overlap | None


class Transfer(_Value):
    """The experts of one task on the questions of one task, one by one and not as a vote.

    Attributes:
        experts_of: The task whose run selected them.
        on: The task that asks.
        difference: Mean score of the experts minus that of the base, paired by question. The questions are those of the
            selection split, by which these experts were not chosen; on their own task, those of the test split.
    """

    experts_of: str
    on: str
    difference: Difference


class TaskMap(_Value):
    """The map of candidates by tasks.

    Attributes:
        tasks: Its columns.
        sigmas: One map per sigma; never pooled.
        transfers: Every task's experts on every task, in the order of the tasks.
    """

    tasks: tuple[MappedTask, ...]
    sigmas: tuple[SigmaMap, ...]
    transfers: tuple[Transfer, ...] = ()

    def transfer(self, experts_of: str, on: str) -> Transfer | None:
        """Return the experts of one task on another."""
        return next((each for each in self.transfers if (each.experts_of, each.on) == (experts_of, on)), None)
