"""A distillation's result, row by row: what the terminal, the report, Prefect and MLflow show."""

from __future__ import annotations

from dataclasses import dataclass

from thickets.flows.distillation.summary import DistillSummary
from thickets.flows.results.rows import result_rows
from thickets.tasks.distillation.results import Arm
from thickets.tasks.results.evaluation import Accuracy, Difference


@dataclass(frozen=True, slots=True)
class DistillRow:
    """One row of the result.

    Attributes:
        label: Who answered.
        accuracy: How well.
        over_base: Accuracy minus that of the base; None for the base itself.
        n_tokens: Tokens generated for it on the test split.
        perplexity: Of generic text, where it was measured.
        arm: What was trained, if this is a trained model.
    """

    label: str
    accuracy: Accuracy
    over_base: Difference | None
    n_tokens: int
    perplexity: float | None = None
    arm: Arm | None = None

    @property
    def is_student(self) -> bool:
        """Whether it is what all this is about."""
        return self.arm is not None and self.arm.name == "student"


def distill_rows(found: DistillSummary) -> list[DistillRow]:
    """The run's own rows, then the trained models, the student last."""
    of_run = [
        DistillRow(
            row.label,
            row.accuracy,
            row.over_base,
            row.n_tokens,
            perplexity=found.base_perplexity if row.label == "base" else None,
        )
        for row in result_rows(found.evaluation)
    ]
    trained = [
        DistillRow(
            "student" if arm.name == "student" else f"trained on {arm.label}",
            arm.test,
            arm.minus_base,
            arm.n_tokens,
            arm.perplexity,
            arm,
        )
        for arm in reversed(found.arms)
    ]
    return [*of_run, *trained]
