"""The steps of a distillation: answers to the training split, the rows made of them, and one trained model per arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from thickets.flows.distillation.cost import arm_cost
from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.distillation.tracking import watch_training
from thickets.flows.distillation.trainer import Trainer, taught_by
from thickets.flows.placement.engines import open_executor
from thickets.flows.plan import RunPlan
from thickets.flows.results.test_answers import TestAnswers
from thickets.flows.runtime.environment import log
from thickets.flows.search.engine_time import times_kept
from thickets.flows.search.progress import ScoringProgress
from thickets.flows.search.scoring import Scoring
from thickets.storage.files import atomic_path
from thickets.storage.models.base import resolve_model
from thickets.storage.scores.database import BASE_ID
from thickets.storage.shards.uses import record_other_answers
from thickets.storage.tracking.run import Tracker
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.distillation.data import label_rows, rejection_rows, student_rows
from thickets.tasks.distillation.results import Arm, DataReport
from thickets.tasks.engines import build_engine
from thickets.tasks.evaluation.voting import ballots
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.types import Respondent

_ANSWERS = """
SELECT candidate_id, example_id, answer, correct, finish_reason, completion
FROM completions
WHERE run_id = ? AND split = 'training'
"""


def answer_training_split(plan: DistillPlan, cluster: RayCluster | None) -> ScoreBook:
    """Let the experts and the samples of the base answer the training split; stored answers are kept."""
    answers = plan.answers
    book = answers.book(plan.folder.scores, plan.id, plan.population)
    book.register(plan.attempts)
    _record(plan, answers)
    _score(answers, book, {"training": plan.respondents}, cluster, plan.folder.engine_time)
    return book


def choose_rows(plan: DistillPlan, book: ScoreBook) -> tuple[pl.DataFrame, DataReport]:
    """Make the training data of every arm, kept as data.parquet."""
    with book.open() as store:
        written = store.query(_ANSWERS, [plan.id])
        cast = ballots(store, "training", plan.experts)
        order = store.answers("training", [candidate_id(who) for who in plan.attempts]).select(
            "candidate_id", "example_id"
        )
    names = plan.experts.select("rank", "candidate_id")
    texts = written.select("candidate_id", "example_id", "finish_reason", "completion")
    experts = cast.join(names, on="rank", how="left", maintain_order="left").join(
        texts, on=["candidate_id", "example_id"], how="left", maintain_order="left"
    )
    attempts = order.join(written, on=["candidate_id", "example_id"], how="left", maintain_order="left")
    rows, report = student_rows(
        experts, attempts, plan.rules, plan.found.evaluation.rule, Consensus(plan.found.evaluation.metric)
    )
    parts, controls = [rows], plan.section.controls
    if plan.section.margin is None:
        if controls.rejection_sampling:
            parts.append(rejection_rows(attempts, rows.height, plan.rules.max_per_example))
        if controls.labels:
            first = rows["example_id"].to_list()
            parts.append(label_rows(plan.run.judge, plan.training.examples, first, rows.height))
    every = pl.concat(parts)
    with atomic_path(plan.folder.data) as temporary:
        every.write_parquet(temporary)
    return every, report


def too_little(report: DataReport, min_rows: int) -> str | None:
    """Return why there are too few rows to train on, or None if there are enough."""
    if report.n_rows >= min_rows:
        return None
    return (
        f"{report.n_rows} rows are left and distillation.min_rows is {min_rows} ({report.account}); raise "
        "distillation.examples or distillation.max_per_example, set distillation.hard_only to false, or lower min_rows"
    )


def train_and_judge(
    trainer: Trainer,
    name: str,
    rows: pl.DataFrame,
    cluster: RayCluster | None,
    tracker: Tracker | None,
    on_test: TestAnswers,
) -> Arm:
    """Train one arm, and put its checkpoint to the validation and the test split as a run would.

    Args:
        trainer: Trains and measures the models of the distillation.
        name: Of the arm.
        rows: Its training data.
        cluster: Where engines run, if not here.
        tracker: Where progress is logged; None: nowhere but in the log.
        on_test: Who was right on the test split.
    """
    plan, label = trainer.plan, taught_by(name, trainer.plan)
    log.info(f"{label}: training on {rows.height} rows")
    training = trainer.train(name, rows, watch_training(tracker, name))
    student = plan.student_plan(resolve_model(str(plan.folder.model(name))))
    book = student.book(plan.folder.work(name) / "scores.duckdb", f"{plan.id}-{name}", plan.population.clear())
    _record(plan, student)
    # Prefect's artifact keys take no underscore.
    kept, shown = plan.folder.engine_time_of(name), name.replace("_", "-")
    _score(student, book, {"validation": [None], "test": [None]}, cluster, kept, shown)
    with book.open() as store:
        validation = store.answers("validation", [BASE_ID])
        test = store.answers("test", [BASE_ID])
        cost = arm_cost(plan, name, student, store, training)
    on_test.arms[name] = ours = shares(test)
    return Arm(
        name=name,
        label=label,
        sha256=student.base.sha256,
        training=training,
        validation=accuracy_of(validation),
        test=accuracy_of(test),
        minus_base=paired_difference(ours, on_test.base),
        minus_ensemble=paired_difference(ours, on_test.ensemble),
        minus_best_single=paired_difference(ours, on_test.best_single),
        minus_weight_average=paired_difference(ours, on_test.weight_average) if on_test.weight_average else None,
        n_tokens=int(test["n_tokens"].sum()),
        perplexity=trainer.perplexity_of(name),
        cost=cost,
    )


def _record(plan: DistillPlan, scored: RunPlan) -> None:
    """Record with the run that these answers are used by it."""
    record_other_answers(plan.run.home.run(plan.run.run_id), scored.fingerprint, scored.verdicts)


def _score(
    plan: RunPlan,
    book: ScoreBook,
    respondents_of: dict[str, Sequence[Respondent]],
    cluster: RayCluster | None,
    kept: Path,
    label: str = "",
) -> None:
    """Score the respondents of each split, keep what that took in a file, and close the engine."""
    progress = ScoringProgress()
    plan.shard_folder.clean_temporaries()
    with times_kept(kept, progress), open_executor(plan, progress.on_unit, build_engine, cluster) as executor:
        for split, respondents in respondents_of.items():
            scoring = Scoring(plan, book, executor, progress)
            scoring.ask(split, respondents, label=f"{label}-{split}" if label else "")
