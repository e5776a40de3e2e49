"""Puts a checkpoint to splits of a run: the run's prompts, blocks, judge and engine, with what the answers cost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import polars as pl

from thickets.flows.model_in_place import model_in_place
from thickets.flows.placement.engines import Engines
from thickets.flows.plan import RunPlan
from thickets.flows.rivals.plan import RivalPlan
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.scoring import Scoring
from thickets.storage.models.base import BaseModelRef
from thickets.storage.shards.uses import record_other_answers
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.engines import build_engine
from thickets.tasks.evaluation.cost import AnswerCounter
from thickets.tasks.results.cost import Cost
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.seeds import POPULATION_SCHEMA
from thickets.tasks.types import Respondent


@dataclass(frozen=True, slots=True)
class Exam:
    """Answers to one split.

    Attributes:
        answers: A row per respondent and example, in their orders: as `ScoreQueries.answers` gives them.
        cost: Of all of them, however many were in the shards already; seconds are those of this session.
    """

    answers: pl.DataFrame
    cost: Cost


class ExamEngines(Engines):
    """The engines of a rival, for one checkpoint after another."""

    def __init__(self, cluster: RayCluster | None) -> None:
        """Start nothing yet.

        Args:
            cluster: Where engines run, if not here.
        """
        self.progress = ScoringProgress()
        super().__init__(self.progress.on_unit, build_engine, cluster)


class Examiner:
    """Has respondents around one checkpoint answer; what it keeps for that ends with `with`."""

    def __init__(self, plan: RivalPlan, scored: RunPlan, name: str, engines: ExamEngines) -> None:
        """Start nothing yet.

        Args:
            plan: The rival.
            scored: The plan with the checkpoint in place of the base.
            name: Of the checkpoint among those of the rival; a file name.
            engines: Answer; one is started when it is needed, and is there for the next checkpoint.
        """
        assert plan.found.full_cost is not None
        self._scored, self._engines, self._n_active = scored, engines, plan.found.full_cost.n_active
        nobody = pl.DataFrame(schema=POPULATION_SCHEMA)
        database = plan.folder.work / "scores" / name / "scores.duckdb"
        database.parent.mkdir(parents=True, exist_ok=True)
        self._book: ScoreBook = scored.book(database, f"{plan.id}-{name}", nobody)
        record_other_answers(plan.run.home.run(plan.run.run_id), scored.fingerprint, scored.verdicts)
        scored.shard_folder.clean_temporaries()

    def __enter__(self) -> Examiner:
        executor = self._engines.turn_to(self._scored)
        self._scoring = Scoring(self._scored, self._book, executor, self._engines.progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The answers are in the shards; a database per round would take megabytes each.
        shutil.rmtree(self._book.database.parent, ignore_errors=True)

    def ask(self, split: str, respondents: Sequence[Respondent], label: str) -> Exam:
        """Have respondents answer a split, and count what that costs.

        Args:
            split: A split of the plan.
            respondents: The checkpoint itself (None), or models around it.
            label: For progress; no underscores.
        """
        before = self._engines.progress.engine
        self._book.register(respondents)
        self._scoring.ask(split, respondents, label=label)
        ids = [candidate_id(who) for who in respondents]
        with self._book.open() as store:
            answers = store.answers(split, ids)
            cost = AnswerCounter(store, self._scored.blocks, self._scored.template, self._n_active).of(split, ids)
        after = self._engines.progress.engine
        spent_s = after.load_s + after.generate_s - before.load_s - before.generate_s
        return Exam(answers, cost.model_copy(update={"engine_s": spent_s}))


def examine(
    plan: RivalPlan, model: BaseModelRef, splits: Sequence[str], name: str, cluster: RayCluster | None
) -> Mapping[str, Exam]:
    """Put a checkpoint to splits of the run, as the run would.

    Args:
        plan: The rival.
        model: The checkpoint.
        splits: Names of the run's splits.
        name: Of the checkpoint among those of the rival.
        cluster: Where engines run, if not here.
    """
    with ExamEngines(cluster) as engines, Examiner(plan, model_in_place(plan.run, model), name, engines) as examiner:
        return {split: examiner.ask(split, [None], f"{plan.method}-{split}") for split in splits}
