"""Results of a distillation, as values. Models only: reading a stored result must not wait for PyTorch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from thickets.tasks.results.cost import RowCost
from thickets.tasks.results.intervals import Accuracy, Difference


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class DataReport(_Result):
    """Counts of the experts' responses that each rule keeps or drops.

    Attributes:
        n_examples: Training examples.
        n_hard: Of these, how many the base gets wrong in most of its attempts.
        n_ensemble: Examples whose ensemble answer qualifies: verified, or with enough of a margin.
        n_eligible: Examples of which responses may be kept.
        n_agreeing: Responses of experts to them that give the ensemble's answer.
        n_cut_off: Of these, how many did not end by themselves or are empty.
        n_repeated: The same text for the same example from a better ranked expert.
        n_over_cap: Beyond the most rows of one example.
        n_rows: Kept.
    """

    n_examples: int
    n_hard: int
    n_ensemble: int
    n_eligible: int
    n_agreeing: int
    n_cut_off: int
    n_repeated: int
    n_over_cap: int
    n_rows: int

    @property
    def account(self) -> str:
        """The way from examples to rows, in one line."""
        return (
            f"{self.n_examples} examples, {self.n_hard} hard for the base, {self.n_ensemble} with a good answer of the "
            f"ensemble, {self.n_eligible} kept; {self.n_agreeing} responses agree with it, of which {self.n_cut_off} "
            f"were cut off, {self.n_repeated} repeated, {self.n_over_cap} over the cap: {self.n_rows} rows"
        )


class ValidationPoint(_Result):
    """The weights of one step on the validation split; step 0 is the base.

    Attributes:
        points: Sum of the scores in thousandths; None in results of versions without scores.
    """

    step: int
    n_correct: int
    n: int
    points: int | None = None


class Training(_Result):
    """How one model was trained.

    Attributes:
        n_rows: Rows of its training data.
        n_steps: Optimizer steps taken.
        best_step: The step whose weights were kept; the first of the best on the validation split.
        curve: Validation accuracy on the way, step 0 first.
        losses: Mean training loss between two points of the curve, by the step they end at.
        n_tokens: Read in these steps, prompts included; how often is rounded where the last pass is not a whole one.
        train_s: Seconds of training, earlier sessions left out.
    """

    n_rows: int
    n_steps: int
    best_step: int
    curve: tuple[ValidationPoint, ...]
    losses: dict[int, float]
    n_tokens: int
    train_s: float


class StudentDifference(_Result):
    """The student minus another, on the test split."""

    other: str
    difference: Difference


class Arm(_Result):
    """The student, or a control that was trained like it.

    Attributes:
        name: ``student``, ``rejection_sampling`` or ``labels``.
        label: What it was trained on, for people.
        sha256: Of its weights.
        training: How it was trained.
        validation: Of the checkpoint, in the type of the base and by the run's engine.
        test: Likewise.
        minus_base: On the test split.
        minus_ensemble: On the test split.
        minus_best_single: On the test split.
        minus_weight_average: On the test split; None where the run did without that control.
        n_tokens: Generated on the test split.
        perplexity: Of generic text.
        cost: Its training, and what it takes to use; what came before the training is in the `DistillSummary`. None in
            results of versions that did not count it.
    """

    name: str
    label: str
    sha256: str
    training: Training
    validation: Accuracy
    test: Accuracy
    minus_base: Difference
    minus_ensemble: Difference
    minus_best_single: Difference
    minus_weight_average: Difference | None
    n_tokens: int
    perplexity: float
    cost: RowCost | None = None
