"""Student and controls against base, experts and ensemble: their scores on the test split, and the summary of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from thickets.flows.distillation.cost import distillation_cost
from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.results.distillation import DistillSummary
from thickets.flows.results.runs import open_scores
from thickets.flows.results.summary import TrackingLinks
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.aggregation import ScoreBook
from thickets.tasks.distillation.data import LABELS, REJECTION, STUDENT
from thickets.tasks.distillation.results import Arm, DataReport, StudentDifference
from thickets.tasks.evaluation.controls import count_tokens
from thickets.tasks.evaluation.voting import ballots, vote
from thickets.tasks.problems.consensus import Consensus
from thickets.tasks.results.evaluation import Accuracy
from thickets.tasks.scoring.units import candidate_id
from thickets.tasks.statistics import accuracy_of, paired_difference, shares
from thickets.tasks.types import Average


@dataclass(frozen=True, slots=True)
class TestAnswers:
    """The score of each answer to the test split, 0 to 1, in the order of its examples.

    Attributes:
        base: The base.
        best_single: The candidate with the best selection score, whether it votes or not.
        weight_average: The mean of the experts' weights; None where the run did without that control.
        ensemble: The vote, as the run holds it.
        base_validation: The base's accuracy on the validation split.
        arms: The models that were trained, by name, as they are judged.
    """

    base: list[float]
    best_single: list[float]
    weight_average: list[float] | None
    ensemble: list[float]
    base_validation: Accuracy
    arms: dict[str, list[float]] = field(default_factory=dict)


def read_test_answers(plan: DistillPlan) -> TestAnswers:
    """Read the run's own answers to the test split."""
    run, found = plan.run, plan.found.evaluation
    has_average = any(control.name == "weight_average" for control in found.controls)
    with open_scores(run.home, run.home.run(run.run_id)) as scores:

        def on_test(who: str) -> list[float]:
            return shares(scores.answers("test", [who]))

        return TestAnswers(
            base=on_test(BASE_ID),
            best_single=on_test(scores.leaderboard("selection", limit=1)["candidate_id"][0]),
            weight_average=on_test(Average(plan.candidates).id) if has_average else None,
            ensemble=shares(vote(ballots(scores, "test", plan.experts), found.k, found.rule, Consensus(found.metric))),
            base_validation=accuracy_of(scores.answers("validation", [BASE_ID])),
        )


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
