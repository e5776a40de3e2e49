"""GRPO as a rival: TRL's trainer on the search's questions, prompts and verdicts, where the run's engine is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thickets.flows.config.rivals_grpo import GrpoConfig
from thickets.flows.distillation.place import Place, choose_place
from thickets.flows.distillation.trainer import base_name_of, exam_of
from thickets.flows.model_in_place import model_in_place
from thickets.flows.results.runs import open_scores
from thickets.flows.rivals.checkpoints import run_dtype, write_step
from thickets.flows.rivals.methods import Made, OnPoint, StepValues
from thickets.flows.rivals.plan import RivalPlan
from thickets.flows.runtime.environment import log
from thickets.storage.scores.database import BASE_ID
from thickets.tasks.distillation.memory import ModelShape, check_host, plan_checkpointing
from thickets.tasks.evaluation.cost import AnswerCounter
from thickets.tasks.host_memory import total_memory_bytes
from thickets.tasks.results.cost import Cost
from thickets.tasks.results.intervals import Accuracy
from thickets.tasks.results.rivals import RivalPoint
from thickets.tasks.rivals.grpo.check import check_generation, check_grpo
from thickets.tasks.rivals.grpo.job import GrpoJob
from thickets.tasks.rivals.grpo.questions import Questions
from thickets.tasks.rivals.grpo.results import GrpoTraining, Line, Look
from thickets.tasks.rivals.grpo.settings import Allowance, GrpoSettings
from thickets.tasks.scoring.executors.ray_cluster import RayCluster
from thickets.tasks.task import task
from thickets.tasks.types import text_of


def train_by_grpo(plan: RivalPlan, base: Accuracy, cluster: RayCluster | None, on_point: OnPoint) -> Made:
    """Train until budget, patience or `rivals.grpo.max_steps` end it; see `thickets.flows.rivals.methods.Method`."""
    section = plan.section
    assert isinstance(section, GrpoConfig)
    check_grpo(plan.run.base.name, plan.run.base.path, plan.run.problem)
    place = choose_place(plan.run, cluster)
    check_generation(section.generation, place.device)
    job = _Trainer(plan, section, place).job(base)

    def tell(what: Line | Look) -> None:
        if isinstance(what, Look):
            on_point(_point(what))
        else:
            log.info(f"  step {what.step}: reward {what.values['reward']:.3f}")
            on_point(StepValues(what.step, {f"train.{name}": value for name, value in what.values.items()}))

    with place.held():
        found = train_rival(lambda: place.run(job, tell))
    if not job.target.is_dir():  # nothing was better than the base
        write_step(plan.run, plan.run.base.path, job.target, None, job.dtype, job.card)
    return Made(_label(section) + plan.of_questions, tuple(map(_point, found.looks)), found.ended, found.cost)


@task("train-rival", retries=1, retry_delays_s=[5])
def train_rival(train: Callable[[], GrpoTraining]) -> GrpoTraining:
    """Train as a Prefect task, here or elsewhere; another attempt goes on from the last checkpoint."""
    return train()


@dataclass(frozen=True, slots=True)
class _Trainer:
    plan: RivalPlan
    section: GrpoConfig
    place: Place

    def job(self, base: Accuracy) -> GrpoJob:
        """Put together what is done where the model is trained.

        Args:
            base: Accuracy of the base on the validation split.
        """
        run, folder = self.plan.run, self.plan.folder
        blocks = model_in_place(run, run.base, (self.plan.questions,)).blocks
        return GrpoJob(
            base=run.base.path,
            base_name=base_name_of(run),
            target=folder.model,
            record=folder.state,
            work=folder.work / "checkpoints",
            questions=Questions(
                tuple(example for block in blocks for example in block.examples),
                tuple(text_of(prompt) for block in blocks for prompt in block.prompts),
            ),
            exam=exam_of(run, self.place),
            start=Look(step=0, validation=base, own=self._look_at_base(), cost=Cost()),
            settings=self._settings(),
            budget=Allowance(self.plan.budget.unit, self.plan.budget.amount),
            dtype=run_dtype(run),
            card=self.plan.card("GRPO (TRL)"),
        )

    def _settings(self) -> GrpoSettings:
        run, section, device = self.plan.run, self.section, self.place.device
        return GrpoSettings(
            method=section.method,
            rank=section.rank,
            alpha=section.alpha,
            learning_rate=section.rate,
            warmup_steps=section.warmup_steps,
            beta=section.beta,
            temperature=section.temperature,
            prompts=section.prompts,
            generations=section.num_generations,
            batch_size=section.batch_size,
            iterations=section.iterations,
            max_steps=section.max_steps,
            eval_every=section.eval_every,
            patience=section.patience,
            seed=section.seed,
            n_parameters=self._n_active,
            rollout_rows=exam_of(run, self.place).batch_size,
            generation=section.generation,
            device=device,
            trust_remote_code=run.config.engine.trust_remote_code,
            mixed=section.method == "full" and device == "cuda",
            checkpointing=self._checkpointing(),
        )

    def _checkpointing(self) -> bool:
        """Return whether activations are made again, and check that the training fits into memory at all.

        Raises:
            InputError: It does not.
        """
        run, section = self.plan.run, self.section
        shape = ModelShape.of(run.base.path, run.base.n_parameters, run.base.size_bytes)
        if self.place.card_bytes is None:
            check_host(shape, section.method, total_memory_bytes(), rank=section.rank, section="rivals.grpo")
            return bool(section.checkpointing)
        # The reference is a second model where all weights are trained; with adapters it is the same without them.
        reference = 4 * shape.n_parameters if section.beta and section.method == "full" else 0
        needed = plan_checkpointing(
            shape,
            section.method,
            self.place.card_bytes - reference,
            rank=section.rank,
            rows=section.batch_size,
            length=run.engine.max_length or 0,
            section="rivals.grpo",
        )
        return needed if section.checkpointing is None else section.checkpointing

    def _look_at_base(self) -> Cost:
        """Count what the search paid to see the base on the validation split: it foretells what a look costs."""
        run = self.plan.run
        with open_scores(run.home, run.home.run(run.run_id)) as scores:
            return AnswerCounter(scores, run.blocks, run.template, self._n_active).of("validation", [BASE_ID])

    @property
    def _n_active(self) -> int:
        assert self.plan.found.cost is not None  # `plan_rival` wants it
        return self.plan.found.cost.n_active


def _point(look: Look) -> RivalPoint:
    return RivalPoint(step=look.step, cost=look.cost, validation=look.validation)


def _label(section: GrpoConfig) -> str:
    kind = f"adapters of rank {section.rank}" if section.method == "lora" else "all weights"
    return f"GRPO, {kind}, {section.prompts} x {section.num_generations} answers a step, rate {section.rate:g}"
