"""What a student took to get: the search, answers to the training split, training and its looks at validation."""

from __future__ import annotations

from collections.abc import Sequence

from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.plan import RunPlan
from thickets.flows.search.engine_time import times_in
from thickets.storage.scores.database import BASE_ID
from thickets.storage.scores.queries import ScoreQueries
from thickets.tasks.distillation.data import LABELS, REJECTION, STUDENT
from thickets.tasks.distillation.results import Arm, Training
from thickets.tasks.engines.parameters import count_parameters
from thickets.tasks.evaluation.cost import AnswerCounter
from thickets.tasks.results.cost import Cost, RowCost, RunCost, flops_of
from thickets.tasks.scoring.units import candidate_id


def arm_cost(plan: DistillPlan, name: str, student: RunPlan, scores: ScoreQueries, training: Training) -> RowCost:
    """Count what an arm took by itself: its training, and what it takes to use.

    A look at the validation split is counted as the answers of the finished checkpoint to it, with no time of its own,
    for the training's holds it.

    Args:
        plan: The distillation.
        name: Of the arm.
        student: The plan that the checkpoint answered by.
        scores: Its answers.
        training: How it was trained.
    """
    n_parameters = _parameters(plan)
    times = times_in(plan.folder.engine_time_of(name))
    count = AnswerCounter(scores, student.blocks, student.template, n_parameters, times)
    look = count.of("validation", [BASE_ID]).model_copy(update={"engine_s": 0.0})
    by_logits = name == STUDENT and plan.section.objective == "logits"
    n_teachers = len(plan.candidates) if by_logits else 0
    trained = training_cost(training, plan.section.batch_size, n_parameters, n_teachers)
    get = sum([look] * len(training.curve), trained)
    return RowCost(name=name, get=get, use=count.of("test", [BASE_ID]), n=len(student.splits.test.examples))


def training_cost(training: Training, batch_size: int, n_parameters: int, n_teachers: int = 0) -> Cost:
    """Count the tokens and texts that a training learned from.

    Args:
        training: How it went.
        batch_size: Texts of a step.
        n_parameters: Of the model.
        n_teachers: Models that read every text once, for their distributions.
    """
    steps_per_pass = -(-training.n_rows // batch_size)
    n_passes, n_more = divmod(training.n_steps, steps_per_pass)
    n_texts = n_passes * training.n_rows + n_more * batch_size  # only the last step of a pass may be smaller
    n_read = round(n_teachers * training.n_tokens * steps_per_pass / training.n_steps) if training.n_steps else 0
    return Cost(
        n_read=n_read,
        n_trained=training.n_tokens,
        n_forward=n_texts + n_teachers * training.n_rows,
        n_backward=n_texts,
        flops=flops_of(n_parameters, n_read_or_generated=n_read, n_trained=training.n_tokens),
        engine_s=training.train_s,
    )


def distillation_cost(plan: DistillPlan, answers: ScoreQueries, arms: Sequence[Arm]) -> RunCost | None:
    """Return the costs of the run's rows and of the arms; None if the run is of a version that counted none.

    A student needed the search and the answers of experts and base to the training split; a control that learned from
    the base's own samples needed these samples alone, and one that learned from gold answers nothing but training.

    Args:
        plan: The distillation.
        answers: Scores of the training split.
        arms: What was trained.
    """
    cost = plan.found.full_cost
    if cost is None:
        return None
    blocks, times = plan.answers.blocks, times_in(plan.folder.engine_time)
    count = AnswerCounter(answers, blocks, plan.answers.template, _parameters(plan), times)
    before = {
        STUDENT: cost.search + count.of("training", map(candidate_id, plan.respondents)),
        REJECTION: count.of("training", map(candidate_id, plan.attempts)),
        LABELS: Cost(),
    }
    own = [arm.cost.model_copy(update={"get": before[arm.name] + arm.cost.get}) for arm in arms if arm.cost]
    return cost.model_copy(update={"rows": (*cost.rows, *own)})


def _parameters(plan: DistillPlan) -> int:
    trusted = plan.run.config.engine.trust_remote_code
    return count_parameters(plan.run.base.path, trust_remote_code=trusted).n_active
