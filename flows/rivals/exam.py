"""Puts a checkpoint to splits of a run: the run's prompts, blocks, judge and engine, with what the answers cost."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import polars as pl

from thickets.flows.model_in_place import model_in_place
from thickets.flows.placement.engines import open_executor
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


class Examiner:
    """Has respondents around one checkpoint answer; its engine starts when it is needed, and ends with `with`."""

    def __init__(self, plan: RivalPlan, scored: RunPlan, name: str, cluster: RayCluster | None) -> None:
        """Start nothing yet.

        Args:
            plan: The rival.
            scored: The plan with the checkpoint in place of the base.
            name: Of the checkpoint among those of the rival; a file name.
            cluster: Where engines run, if not here.
        """
        assert plan.found.full_cost is not None
        self._scored, self._progress, self._n_active = scored, ScoringProgress(), plan.found.full_cost.n_active
        nobody = pl.DataFrame(schema=POPULATION_SCHEMA)
        database = plan.folder.work / "scores" / name / "scores.duckdb"
        database.parent.mkdir(parents=True, exist_ok=True)
        self._book: ScoreBook = scored.book(database, f"{plan.id}-{name}", nobody)
        record_other_answers(plan.run.home.run(plan.run.run_id), scored.fingerprint, scored.verdicts)
        scored.shard_folder.clean_temporaries()
        self._open = open_executor(scored, self._progress.on_unit, build_engine, cluster)

    def __enter__(self) -> Examiner:
        self._scoring = Scoring(self._scored, self._book, self._open.__enter__(), self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
        # The answers are in the shards; a database per round would take megabytes each.
        shutil.rmtree(self._book.database.parent, ignore_errors=True)

    def ask(self, split: str, respondents: Sequence[Respondent], label: str) -> Exam:
        """Have respondents answer a split, and count what that costs.

        Args:
            split: A split of the plan.
            respondents: The checkpoint itself (None), or models around it.
            label: For progress; no underscores.
        """
        before = self._progress.engine
        self._book.register(respondents)
        self._scoring.ask(split, respondents, label=label)
        ids = [candidate_id(who) for who in respondents]
        with self._book.open() as store:
            answers = store.answers(split, ids)
            cost = AnswerCounter(store, self._scored.blocks, self._scored.template, self._n_active).of(split, ids)
        after = self._progress.engine
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
    with Examiner(plan, model_in_place(plan.run, model), name, cluster) as examiner:
        return {split: examiner.ask(split, [None], f"{plan.method}-{split}") for split in splits}
