"""Puts together what is done where students are trained: each arm's training, and the perplexity of every model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from thickets.flows.distillation.place import Place
from thickets.flows.distillation.plan import DistillPlan
from thickets.flows.plan import RunPlan
from thickets.storage.models.base import BaseModelRef, hub_commit
from thickets.tasks.distillation.arm import train_arm
from thickets.tasks.distillation.checkpoints import forget
from thickets.tasks.distillation.data import LABELS, REJECTION, STUDENT
from thickets.tasks.distillation.jobs import BaseName, ExamJob, OnPoint, PerplexityJob, TargetsJob, TrainingJob
from thickets.tasks.distillation.perplexity import measure_perplexity
from thickets.tasks.distillation.results import Training
from thickets.tasks.distillation.student import student_card
from thickets.tasks.distillation.texts import TrainingText, encode
from thickets.tasks.distillation.training import TrainingSettings
from thickets.tasks.engines.prompts import PromptTemplate
from thickets.tasks.engines.tokenizer import load_tokenizer
from thickets.tasks.problems.file import written_out
from thickets.tasks.types import text_of

# As many rows as a GPU has room for beside a model in training; the engine's own batches are planned without one.
_EXAM_ROWS_ON_GPU = 64


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains and measures the models of a distillation.

    Attributes:
        plan: The distillation.
        place: Where it is done.
        checkpointing: Activations have to be made again to fit there.
        text: That perplexity is measured on.
    """

    plan: DistillPlan
    place: Place
    checkpointing: bool
    text: str

    def perplexity_of_base(self) -> float:
        """Measure the base model's."""
        return self._perplexity(self.plan.run.base.path, base_name_of(self.plan.run))

    def perplexity_of(self, name: str) -> float:
        """Measure that of an arm's checkpoint."""
        return self._perplexity(self.plan.folder.model(name), None)

    def train(self, name: str, rows: pl.DataFrame, on_point: OnPoint) -> Training:
        """Train one arm and write its checkpoint, or read what an earlier session has found.

        Args:
            name: Of the arm.
            rows: Its training data.
            on_point: Told of every validation point.
        """
        plan = self.plan
        by_logits = name == STUDENT and plan.section.objective == "logits"
        job = TrainingJob(
            base=plan.start.path,
            base_name=base_name_of(plan.run, plan.start),
            target=plan.folder.model(name),
            work=plan.folder.work(name),
            texts=tuple(self._texts(rows, with_earlier=name == STUDENT)),
            exam=exam_of(plan.run, self.place),
            settings=self._settings(),
            card=student_card(
                plan.start.name, plan.run.run_id, plan.run.config.single_problem.title, taught_by(name, plan)
            ),
            targets=self._targets() if by_logits else None,
        )
        with self.place.held():
            found = train_arm(lambda: self.place.run(job, on_point))
        forget(plan.folder.targets)
        return found

    def _perplexity(self, folder: Path, base_name: BaseName | None) -> float:
        trusted = self.plan.run.config.engine.trust_remote_code
        job = PerplexityJob(folder, base_name, self.text, self.place.device, trusted)
        with self.place.held():
            return measure_perplexity(lambda: self.place.run(job, lambda point, loss: None))

    def _texts(self, rows: pl.DataFrame, *, with_earlier: bool) -> list[TrainingText]:
        plan, config = self.plan, self.plan.run.config
        tokenizer = load_tokenizer(plan.run.base.path, trust_remote_code=config.engine.trust_remote_code)
        template = PromptTemplate(tokenizer, config.decoding.chat_template_kwargs)
        # Each with the examples it was made of: another draw may give one id to another question.
        parts = [(plan.training.examples, rows)]
        if with_earlier:
            parts += [(each.examples, each.rows) for each in plan.earlier]
        texts: list[TrainingText] = []
        for examples, part in parts:
            messages = {example.id: plan.run.problem.messages(example) for example in examples}
            prompts = [text_of(template.render(messages[example])) for example in part["example_id"]]
            texts += encode(tokenizer, prompts, part["response"].to_list())
        return texts

    def _settings(self) -> TrainingSettings:
        plan, section = self.plan, self.plan.section
        n_rows = pl.read_parquet(plan.folder.data).filter(pl.col("arm") == STUDENT).height
        n_rows += sum(each.rows.height for each in plan.earlier)
        steps_per_epoch = -(-n_rows // section.batch_size)
        return TrainingSettings(
            method=section.method,
            rank=section.rank,
            alpha=section.alpha,
            learning_rate=section.learning_rate,
            # As many for the controls, whatever rows they have.
            max_steps=section.max_steps or section.epochs * steps_per_epoch,
            batch_size=section.batch_size,
            eval_every=section.eval_every,
            patience=section.patience,
            seed=section.seed,
            device=self.place.device,
            trust_remote_code=plan.run.config.engine.trust_remote_code,
            mixed=section.method == "full" and self.place.device == "cuda",
            checkpointing=self.checkpointing,
        )

    def _targets(self) -> TargetsJob:
        """Return how the experts' distributions are made: by Transformers, whatever engine the run has."""
        plan = self.plan
        return TargetsJob(
            engine=replace(
                plan.run.engine,
                kind="transformers",
                device=self.place.device,
                prefetch=False,
                batch_size=plan.section.batch_size,  # of rows that are read together; its memory is planned by it
                max_length=None,
            ),
            experts=plan.candidates,
            folder=plan.folder.targets,
            top=plan.section.top_tokens,
            batch_size=plan.section.batch_size,
        )


def base_name_of(run: RunPlan, start: BaseModelRef | None = None) -> BaseName:
    """Return a run's base model, or another that is trained instead, as every machine finds it."""
    base, trusted = start or run.base, run.config.engine.trust_remote_code
    path = Path(base.name).expanduser()
    name = str(path.absolute()) if path.exists() else base.name  # elsewhere the working folder is another
    return BaseName(name, hub_commit(base.revision), base.sha256, trusted)


def exam_of(run: RunPlan, place: Place) -> ExamJob:
    """Return a run's validation split as an exam where a model is trained."""
    batch_size = run.engine.batch_size
    return ExamJob(
        blocks=tuple(block for block in run.blocks if block.split == "validation"),
        problem=written_out(run.problem, run.config.single_problem),
        reasoning=run.judge.reasoning,
        sampling=run.sampling,
        batch_size=min(batch_size, _EXAM_ROWS_ON_GPU) if place.device.startswith("cuda") else batch_size,
    )


def taught_by(name: str, plan: DistillPlan) -> str:
    """Return what an arm is trained on, for people."""
    what = "the mean of the experts' distributions" if plan.section.objective == "logits" else "the experts' responses"
    return {STUDENT: what, REJECTION: "the base's own right samples", LABELS: "the gold answers"}[name]
