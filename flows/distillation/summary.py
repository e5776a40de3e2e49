"""What a distillation found, as one value: returned by the flow, kept as summary.json, shown by `thickets distill`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from thickets.flows.results.summary import TrackingLinks
from thickets.tasks.distillation.results import Arm, Comparison, DataReport
from thickets.tasks.results.evaluation import Accuracy, Evaluation


class DistillSummary(BaseModel):
    """The result of a distillation; every accuracy but those on the validation split is on the run's test split.

    Attributes:
        evaluation: What the run found: base, controls, best single expert and ensemble.
        data: What became of the experts' responses.
        reason: Why nothing was trained, if nothing was.
        base_validation: The base on the validation split, by the run's engine.
        arms: The student first, then the controls that were trained like it.
        untrained: Controls that were asked for but had no rows.
        student_minus: The student against each control that was trained.
        base_perplexity: Of generic text; None if nothing was trained.
        answer_tokens: Generated on the training split by experts and base, earlier sessions included.
        wall_s: Seconds of this session.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    run_id: str
    distillation_id: str
    folder: Path
    model: str
    problem: str
    objective: str
    method: str
    evaluation: Evaluation
    data: DataReport
    reason: str | None
    base_validation: Accuracy
    arms: tuple[Arm, ...]
    untrained: tuple[str, ...]
    student_minus: tuple[Comparison, ...]
    base_perplexity: float | None
    answer_tokens: int
    wall_s: float
    tracking: TrackingLinks

    @property
    def student(self) -> Arm | None:
        """The student, if one was trained."""
        return next((arm for arm in self.arms if arm.name == "student"), None)

    @property
    def gain_kept(self) -> float | None:
        """The student's gain over the base as a share of the ensemble's; None without a student or a gain."""
        gain = self.evaluation.ensemble_minus_base.value
        return None if self.student is None or gain <= 0 else self.student.minus_base.value / gain
