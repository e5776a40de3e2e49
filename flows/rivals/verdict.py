"""A rival's model against base, best single expert, vote and merge, on the run's test split."""

from __future__ import annotations

import polars as pl

from thickets.flows.models.logged import KeptAnswers
from thickets.flows.results.rivals import RivalSummary
from thickets.flows.results.summary import TrackingLinks
from thickets.flows.results.test_answers import TestAnswers
from thickets.flows.rivals.exam import examine
from thickets.flows.rivals.methods import Made
from thickets.flows.rivals.plan import RivalPlan
from thickets.storage.models.base import resolve_model
from thickets.tasks.results.rivals import Rival, chosen_point
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.statistics import accuracy_of, paired_difference, shares


def judge_rival(plan: RivalPlan, made: Made, on_test: TestAnswers, cluster: RayCluster | None) -> Rival:
    """Put the chosen model to the validation and the test split as the run would, and compare it.

    Args:
        plan: The rival.
        made: What its method has made.
        on_test: Who was right on the test split.
        cluster: Where engines run, if not here.
    """
    model = resolve_model(str(plan.folder.model))
    found = examine(plan, model, ("validation", "test"), "model", cluster)
    test = found["test"].answers
    kept_answers(plan, test).save(plan.folder.root)
    ours = shares(test)
    return Rival(
        method=plan.method,
        label=made.label,
        sha256=model.sha256,
        points=made.points,
        chosen_step=chosen_point(made.points).step,
        ended=made.ended,
        validation=accuracy_of(found["validation"].answers),
        test=accuracy_of(test),
        minus_base=paired_difference(ours, on_test.base),
        minus_ensemble=paired_difference(ours, on_test.ensemble),
        minus_best_single=paired_difference(ours, on_test.best_single),
        minus_merge=None if on_test.merge is None else paired_difference(ours, on_test.merge),
        cost_to_get=made.cost,
        cost_to_use=found["test"].cost,
        n_tokens=int(test["n_tokens"].sum()),
    )


def kept_answers(plan: RivalPlan, answers: pl.DataFrame) -> KeptAnswers:
    """Return a rival's answers to the test split as its model in MLflow keeps them."""
    return KeptAnswers(answers, plan.run.splits.test.sha256, dict(plan.run.problem.identity()))


def summarise_rival(plan: RivalPlan, rival: Rival, tracking: TrackingLinks, wall_s: float) -> RivalSummary:
    """Build the summary of a rival; see `thickets.flows.results.rivals.RivalSummary`."""
    assert plan.found.full_cost is not None
    return RivalSummary(
        run_id=plan.run.run_id,
        rival_id=plan.id,
        folder=plan.folder.root.resolve(),
        model=plan.run.base.name,
        problem=plan.run.config.single_problem.title,
        evaluation=plan.found.evaluation,
        budget=plan.budget.sentence,
        cost=plan.found.full_cost,
        rival=rival,
        wall_s=wall_s,
        tracking=tracking,
    )
