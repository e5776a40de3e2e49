"""Student and controls against base, experts and ensemble: their scores on the test split, and the summary of it."""

from __future__ import annotations

from collections.abc import Sequence

from thickets.flows.distillation.cost import distillation_cost
from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.summary import TrackingLinks
from thickets.flows.results.test_answers import TestAnswers
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.distillation.data import LABELS, REJECTION, STUDENT
from thickets.tasks.distillation.results import Arm, DataReport, StudentDifference
from thickets.tasks.evaluation.controls import count_tokens
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.statistics import paired_difference


def conclude(
    plan: DistillPlan,
    book: ScoreBook,
    on_test: TestAnswers,
    report: DataReport,
    reason: str | None,
    arms: Sequence[Arm],
    base_perplexity: float | None,
    tracking: TrackingLinks,
    wall_s: float,
) -> DistillSummary:
    """Build the summary of a distillation; see `thickets.flows.results.distillation.DistillSummary`.

    Args:
        plan: The distillation.
        book: Scores of the training split.
        on_test: Who scored what on the test split.
        report: How many of the experts' responses became training rows.
        reason: Why nothing was trained, or None.
        arms: What was trained, the student first.
        base_perplexity: Of generic text, if anything was trained.
        tracking: Where it is logged.
        wall_s: Seconds of this session.
    """
    with book.open() as store:
        answer_tokens = count_tokens(store, "training", [candidate_id(who) for who in plan.respondents])
        cost = distillation_cost(plan, store, arms)
    return DistillSummary(
        run_id=plan.run.run_id,
        distillation_id=plan.id,
        folder=plan.folder.root.resolve(),
        model=plan.run.base.name,
        problem=plan.run.config.single_problem.title,
        objective=plan.section.objective,
        method=plan.section.method,
        evaluation=plan.found.evaluation,
        data=report,
        reason=reason,
        base_validation=on_test.base_validation,
        arms=tuple(arms),
        untrained=_untrained(plan, arms),
        student_minus=tuple(
            StudentDifference(other=name, difference=paired_difference(on_test.arms[STUDENT], theirs))
            for name, theirs in on_test.arms.items()
            if name != STUDENT
        ),
        base_perplexity=base_perplexity,
        answer_tokens=answer_tokens,
        wall_s=wall_s,
        tracking=tracking,
        cost=cost,
    )


def _untrained(plan: DistillPlan, arms: Sequence[Arm]) -> tuple[str, ...]:
    controls = plan.section.controls
    wanted = {REJECTION: controls.rejection_sampling, LABELS: controls.labels}
    trained = {arm.name for arm in arms}
    # Without labels (a margin) neither control is possible; that is no news.
    is_possible = bool(arms) and plan.section.margin is None
    return tuple(name for name, on in wanted.items() if on and is_possible and name not in trained)
