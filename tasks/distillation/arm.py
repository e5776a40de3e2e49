"""One training from data to checkpoint, and the Prefect task that tries it again: it goes on where it was cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from thickets.storage.files import write_text_atomically
from thickets.tasks.distillation.checkpoints import forget
from thickets.tasks.distillation.objective import Targets
from thickets.tasks.distillation.results import Training, ValidationPoint
from thickets.tasks.distillation.student import write_student
from thickets.tasks.distillation.texts import TrainingText
from thickets.tasks.distillation.training import Exam, TrainingSettings, train
from thickets.tasks.task import task


class ArmTraining:
    """The training of the student or of a control."""

    def __init__(
        self,
        base: Path,
        target: Path,
        work: Path,
        texts: Sequence[TrainingText],
        exam: Exam,
        settings: TrainingSettings,
        *,
        card: str,
        targets: Callable[[], Targets] | None = None,
        on_point: Callable[[ValidationPoint, float | None], None] = lambda point, loss: None,
    ) -> None:
        """Set up the training; see `thickets.tasks.distillation.training.train`.

        Args:
            base: Folder of the base checkpoint.
            target: Folder of the trained checkpoint.
            work: Folder of what is needed on the way.
            texts: The training data.
            exam: The validation split.
            settings: How to train.
            card: README.md of the checkpoint.
            targets: Makes the token distributions to match; None: the responses themselves.
            on_point: Told of every validation point.
        """
        self._base, self._target, self._work = base, target, work
        self._texts, self._exam, self._settings = texts, exam, settings
        self._card, self._targets, self._on_point = card, targets, on_point

    def run(self) -> Training:
        """Train and write the checkpoint, or read what an earlier session has found."""
        checkpoints, record = self._work / "checkpoints", self._work / "training.json"
        if not self._target.is_dir():
            best, found = train(
                self._base,
                self._texts,
                self._exam,
                checkpoints,
                self._settings,
                targets=self._targets() if self._targets else None,
                on_point=self._on_point,
            )
            write_text_atomically(record, found.model_dump_json(indent=2))
            write_student(
                self._base,
                best,
                self._target,
                self._settings.method,
                self._card,
                trust_remote_code=self._settings.trust_remote_code,
            )
        forget(checkpoints)
        return Training.model_validate_json(record.read_text(encoding="utf-8"))


@task("train-student", retries=1, retry_delays_s=[5])
def train_arm(train: Callable[[], Training]) -> Training:
    """Train as a Prefect task, here or elsewhere; a function, since Prefect walks through the values it is given."""
    return train()
