"""Scores part of a run: what is missing of a split, for some respondents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thickets.flows.plan import RunPlan
from thickets.flows.search.progress import ScoringProgress
from thickets.tasks.aggregation import ScoreBook, aggregate_scores, check_complete
from thickets.tasks.scoring.executors import Executor
from thickets.tasks.scoring.score import score_shards
from thickets.tasks.scoring.units import candidate_id, plan_shards, shrink_towards_end
from thickets.tasks.types import Respondent

# Scores reach the database at least this often, so that `thickets sql` has something to say during a long run.
_AGGREGATE_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Scoring:
    """What all scoring of one run has in common.

    Attributes:
        plan: The run.
        book: Takes the scores.
        executor: Makes them.
        progress: Counts and shows them.
        begin: Called before something is scored.
    """

    plan: RunPlan
    book: ScoreBook
    executor: Executor
    progress: ScoringProgress
    begin: Callable[[], None] = lambda: None

    def ask(
        self, split: str, respondents: Sequence[Respondent], *, label: str = "", blocks: Sequence[int] | None = None
    ) -> None:
        """Have respondents answer a split; answers that are in the shards already are not generated again.

        Args:
            split: Whose questions.
            respondents: The base (None), candidates, averages or samples.
            label: For progress, instead of the split's name.
            blocks: Which blocks of the split; None: all.

        Raises:
            RunError: Scores are missing afterwards.
        """
        plan, scoring = self.plan, self.plan.config.scoring
        n_blocks = plan.n_blocks(split)
        wanted = range(n_blocks) if blocks is None else blocks
        done = aggregate_scores(self.book)
        shards = plan_shards(split, n_blocks, respondents, done.iter_rows(), scoring.candidates_per_shard, wanted)
        # One engine has none to wait for; a signals engine answers a whole shard in about the time of one candidate.
        if self.executor.n_engines > 1 and plan.engine.kind != "signals":
            shards = shrink_towards_end(shards, self.executor.slots)
        n_units = sum(len(shard.candidates) for shard in shards)
        n_done = len(respondents) * len(wanted) - n_units
        if shards:
            self.begin()
        with self.progress.split(label or split, n_units, n_done, self.executor.n_engines):
            score_shards(
                self.executor,
                shards,
                retries=scoring.retries,
                on_tick=self._aggregate_now,
                tick_every_s=_AGGREGATE_EVERY_S,
            )
        if shards:
            done = aggregate_scores(self.book)
        check_complete(done, [candidate_id(respondent) for respondent in respondents], split, wanted)

    def _aggregate_now(self) -> None:
        # Whoever reads the database keeps it: the next time will do.
        self.book.aggregate(judge=False, wait_s=0.0)
