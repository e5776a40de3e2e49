"""A training by GRPO from its questions to its checkpoint, as a value that travels to another process or machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from thickets.storage.files import write_text_atomically
from thickets.tasks.distillation.checkpoints import forget
from thickets.tasks.distillation.jobs import BaseName, ExamJob, Tell
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.problems import load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.rivals.grpo.questions import Questions, reward_of
from thickets.tasks.rivals.grpo.results import GrpoTraining, Look
from thickets.tasks.rivals.grpo.settings import Allowance, GrpoSettings


@dataclass(frozen=True, slots=True)
class GrpoJob:
    """See `thickets.tasks.rivals.grpo.training.Course`.

    Attributes:
        base: Folder of the base checkpoint on this machine.
        base_name: The same for any machine.
        target: Folder of the trained checkpoint; none is written where the base is the best.
        record: How it went, as JSON; there once training has ended.
        work: Folder of what is needed on the way.
        questions: What it is trained on.
        exam: The validation split, and how a run decodes and judges.
        start: The base on the validation split.
        settings: How to train.
        budget: What it may spend.
        dtype: Type of the checkpoint's weights.
        card: README.md of the checkpoint.
    """

    base: Path
    base_name: BaseName
    target: Path
    record: Path
    work: Path
    questions: Questions
    exam: ExamJob
    start: Look
    settings: GrpoSettings
    budget: Allowance | None
    dtype: DtypeName
    card: str

    def run(self, tell: Tell, /) -> GrpoTraining:
        """Train and write the checkpoint, or read what an earlier session has found."""
        if not self.record.is_file():
            self._train(tell)
        forget(self.work)
        return GrpoTraining.model_validate_json(self.record.read_text(encoding="utf-8"))

    def _train(self, tell: Tell) -> None:
        from thickets.tasks.distillation.exam import marking
        from thickets.tasks.distillation.student import write_student
        from thickets.tasks.rivals.grpo.training import Course

        exam, trusted = self.exam, self.settings.trust_remote_code
        judge = Judge(load_problem(exam.problem), exam.reasoning)
        mark = marking(exam.blocks, judge, exam.sampling, self.base, exam.batch_size, trust_remote_code=trusted)
        best, found = Course(
            self.base,
            self.questions,
            reward_of(judge),
            exam.sampling,
            mark,
            self.start,
            self.work,
            self.settings,
            self.budget,
        ).run(tell)
        if best is not None and not self.target.is_dir():
            write_student(
                self.base,
                best,
                self.target,
                self.settings.method,
                self.card,
                trust_remote_code=trusted,
                dtype=self.dtype,
            )
        write_text_atomically(self.record, found.model_dump_json(indent=2))

    def elsewhere(self) -> Self:
        """See `thickets.tasks.distillation.jobs.Job.elsewhere`."""
        return replace(self, base=self.base_name.folder())
