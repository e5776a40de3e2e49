"""What a distillation does on a device, as values that travel to another process or machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias, TypeVar

from thickets.storage.errors import InputError
from thickets.tasks.distillation.arm import ArmTraining
from thickets.tasks.distillation.perplexity import perplexity
from thickets.tasks.distillation.results import Training, ValidationPoint
from thickets.tasks.distillation.texts import TrainingText
from thickets.tasks.distillation.training import TrainingSettings
from thickets.tasks.engines import EngineSpec
from thickets.tasks.engines.base_model import find_base_model
from thickets.tasks.problems import ProblemConfig, load_problem
from thickets.tasks.problems.judging import Judge
from thickets.tasks.scoring.units import Block
from thickets.tasks.types import Candidate, Sampling
from thickets.tasks.verifiers.thought import Thoughts

if TYPE_CHECKING:
    from thickets.tasks.distillation.objective import Targets

Tell: TypeAlias = Callable[..., None]
"""Told what a job has to tell on the way; the arguments are the job's own, and travel between processes."""
R_co = TypeVar("R_co", covariant=True)
OnPoint = Callable[[ValidationPoint, float | None], None]
"""Told of every validation point, and of the mean training loss since the last one."""


class Job(Protocol[R_co]):
    """A piece of work for one device."""

    def run(self, tell: Tell, /) -> R_co:
        """Do it."""

    def elsewhere(self) -> Self:
        """Return the job for the machine that this is called on: its own copy of the base model."""


@dataclass(frozen=True, slots=True)
class BaseName:
    """A base model as every machine finds it.

    Attributes:
        model: A hub id, a built-in name or an absolute path.
        revision: Commit of a hub id; None for others.
        sha256: Content hash that it must have.
        trust_remote_code: Also fetch Python code that comes with it.
    """

    model: str
    revision: str | None
    sha256: str
    trust_remote_code: bool

    def folder(self) -> Path:
        """Return its folder on this machine.

        Raises:
            InputError: It is not here, or has another content.
        """
        found = find_base_model(self.model, self.revision, trust_remote_code=self.trust_remote_code)
        if found.sha256 != self.sha256:
            raise InputError(
                f"model: {self.model} has the content hash {found.sha256} where students are trained, but the run is "
                f"about {self.sha256}; put the same files there"
            )
        return found.path


@dataclass(frozen=True, slots=True)
class ExamJob:
    """The validation split as an exam; see `thickets.tasks.distillation.exam.validation_exam`."""

    blocks: tuple[Block, ...]
    problem: ProblemConfig
    reasoning: Thoughts | None
    sampling: Sampling
    batch_size: int


@dataclass(frozen=True, slots=True)
class TargetsJob:
    """The experts' token distributions; see `thickets.tasks.distillation.objective.collect`."""

    engine: EngineSpec
    experts: tuple[Candidate, ...]
    folder: Path
    top: int
    batch_size: int


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One arm's training, from its texts to its checkpoint; see `ArmTraining`.

    Attributes:
        base: Folder of the base checkpoint on this machine.
        base_name: The same for any machine.
        target: Folder of the trained checkpoint.
        work: Folder of what is needed on the way.
        texts: The training data.
        exam: Decides which step is kept.
        settings: How to train.
        card: README.md of the checkpoint.
        targets: The token distributions to match; None: the responses themselves.
    """

    base: Path
    base_name: BaseName
    target: Path
    work: Path
    texts: tuple[TrainingText, ...]
    exam: ExamJob
    settings: TrainingSettings
    card: str
    targets: TargetsJob | None = None

    def run(self, on_point: OnPoint) -> Training:
        """Train and write the checkpoint, or read what an earlier session has found."""
        from thickets.tasks.distillation.exam import validation_exam

        exam = validation_exam(
            self.exam.blocks,
            Judge(load_problem(self.exam.problem), self.exam.reasoning),
            self.exam.sampling,
            self.base,
            self.exam.batch_size,
            trust_remote_code=self.settings.trust_remote_code,
        )
        return ArmTraining(
            self.base,
            self.target,
            self.work,
            self.texts,
            exam,
            self.settings,
            card=self.card,
            targets=None if self.targets is None else partial(_collect, self.targets, self.texts),
            on_point=on_point,
        ).run()

    def elsewhere(self) -> Self:
        """See `Job.elsewhere`."""
        base = self.base_name.folder()
        targets = self.targets
        if targets is not None:
            targets = replace(targets, engine=replace(targets.engine, model_path=base))
        return replace(self, base=base, targets=targets)


@dataclass(frozen=True, slots=True)
class PerplexityJob:
    """The perplexity of a checkpoint; see `thickets.tasks.distillation.perplexity.perplexity`.

    Attributes:
        folder: The checkpoint.
        base_name: The base, if it is that; None: a student, whose folder every machine sees.
        text: The text to measure on.
        device: Device that the model runs on.
        trust_remote_code: Run Python code found in the folder.
    """

    folder: Path
    base_name: BaseName | None
    text: str
    device: str
    trust_remote_code: bool

    def run(self, on_point: OnPoint) -> float:
        """Measure it."""
        return perplexity(self.folder, self.text, device=self.device, trust_remote_code=self.trust_remote_code)

    def elsewhere(self) -> Self:
        """See `Job.elsewhere`."""
        return self if self.base_name is None else replace(self, folder=self.base_name.folder())


def _collect(job: TargetsJob, texts: tuple[TrainingText, ...]) -> Targets:
    """Collect the experts' distributions; by Transformers, whatever engine the run has."""
    import logging

    from thickets.tasks.distillation.objective import collect
    from thickets.tasks.engines.transformers import TransformersEngine

    engine = TransformersEngine(job.engine)
    log = logging.getLogger("thickets")
    try:
        return collect(
            engine,
            job.experts,
            texts,
            job.folder,
            top=job.top,
            batch_size=job.batch_size,
            on_expert=lambda done: log.info(f"token distributions: {done} of {len(job.experts)} experts"),
        )
    finally:
        engine.close()
