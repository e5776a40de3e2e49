"""Trains a model by GRPO: on the run's own prompts and verdicts, stopped by validation or budget, safe to kill.

What makes a training go on as if nothing had happened: the order of the questions and the draws of every sample are
functions of the seed and the step; weights, optimizer, schedule and the generators of Python, NumPy and PyTorch are in
TRL's checkpoints; cost and looks are beside them. Steps behind the last checkpoint are taken again and counted once. On
the CPU, with the same number of threads, the result is the same to the bit. On a GPU, and with vLLM, steps that are
taken again may differ in the last bits, and from there on in their samples.

Checkpoints hold pickles (`torch.save`): they are read back with `weights_only`, only from the folder this process was
given for them, and whoever trains deletes them when the model is written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thickets.tasks.distillation.chatter import leave_out_chatter
from thickets.tasks.distillation.checkpoints import checkpoint_at, last_checkpoint, step_of, trainer_state
from thickets.tasks.distillation.exam import ExamMark
from thickets.tasks.distillation.learner import adapters, load_learner
from thickets.tasks.results.cost import Cost
from thickets.tasks.rivals.grpo.meter import CostMeter
from thickets.tasks.rivals.grpo.questions import Questions, Reward, RewardFunction
from thickets.tasks.rivals.grpo.results import GrpoTraining, Line, Look, best_of, line_of, n_without_gain
from thickets.tasks.rivals.grpo.settings import OUT_OF_PATIENCE, Allowance, GrpoSettings
from thickets.tasks.types import Sampling


@dataclass(frozen=True, slots=True)
class Course:
    """A training from the base, or from the last whole checkpoint of an earlier attempt.

    Attributes:
        base: Folder of the base checkpoint.
        questions: What it is trained on.
        reward: Rewards completions, from 0 to 1.
        sampling: The run's decoding; temperature and seed are the settings'.
        mark: Puts a live model to the validation split.
        start: The base on the validation split, which the search has paid for: its own cost foretells the next look's.
        folder: Of the checkpoints.
        settings: How to train.
        budget: What it may spend: it ends with the first step after which another look would go beyond it.
    """

    base: Path
    questions: Questions
    reward: Reward
    sampling: Sampling
    mark: Callable[[Any], ExamMark]
    start: Look
    folder: Path
    settings: GrpoSettings
    budget: Allowance | None

    def run(self, tell: Callable[[Line | Look], None] = lambda what: None) -> tuple[Path | None, GrpoTraining]:
        """Train to the end.

        Args:
            tell: Told of every step, and of every look at the validation split but the base's.

        Returns:
            The folder of the best checkpoint (adapters, or a whole model), None if that is the base; and how it went.
        """
        last = last_checkpoint(self.folder)
        looks = self._looks(last)
        ended = self._ended(last, looks)
        if ended is None:
            ended, looks = self._go_on(last, looks, tell)
            last = last_checkpoint(self.folder)
        assert last is not None  # a checkpoint is written at the last step
        best = best_of(looks).step
        found = GrpoTraining(
            n_steps=step_of(last),
            best_step=best,
            looks=looks,
            lines=tuple(line_of(entry) for entry in trainer_state(last)["log_history"] if "loss" in entry),
            ended=ended,
            cost=looks[-1].cost,
        )
        return (checkpoint_at(self.folder, best) if best else None), found

    def _looks(self, last: Path | None) -> tuple[Look, ...]:
        from thickets.tasks.rivals.grpo.progress import read_looks

        return read_looks(self.folder, 0 if last is None else step_of(last)) or (self.start,)

    def _ended(self, last: Path | None, looks: tuple[Look, ...]) -> str | None:
        """Return why an earlier attempt had ended the training; None: it had not, or a look is missing."""
        from thickets.tasks.rivals.grpo.progress import Progress

        if last is None or looks[-1].step < step_of(last):
            return None
        waited = n_without_gain(looks) >= self.settings.patience
        return Progress.of(last).ended or (OUT_OF_PATIENCE if waited else None)

    def _go_on(
        self, last: Path | None, looks: tuple[Look, ...], tell: Callable[[Line | Look], None]
    ) -> tuple[str, tuple[Look, ...]]:
        """Train from a checkpoint to the end; return why it ended, and all looks."""
        from thickets.tasks.rivals.grpo.progress import Ended, Progress, Watch

        so_far = Cost() if last is None else Progress.of(last).cost
        if last is not None and looks[-1].step == step_of(last):
            so_far += looks[-1].own
        meter = CostMeter(self.settings.n_parameters, so_far)
        watch = Watch(self.folder, self.settings, self.budget, self.mark, meter, looks, tell)
        trainer = self.trainer(meter, [watch])
        with suppress(Ended):
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        assert watch.ended is not None
        return watch.ended, watch.looks

    def trainer(self, meter: CostMeter, callbacks: list[Any]) -> Any:
        """Make TRL's trainer.

        Args:
            meter: Counts what it does.
            callbacks: Of TRL.
        """
        settings, sampling = self.settings, self.sampling
        on_cpu, by_vllm = settings.device == "cpu", settings.generation == "vllm"
        leave_out_chatter(uses_vllm=by_vllm)
        import torch
        from datasets import Dataset
        from trl import GRPOConfig

        from thickets.tasks.engines.attention import group_heads
        from thickets.tasks.engines.dtypes import computes_in
        from thickets.tasks.engines.stops import StopChecker
        from thickets.tasks.engines.tokenizer import load_tokenizer
        from thickets.tasks.rivals.grpo.trainer import CountedTrainer

        tokenizer = load_tokenizer(self.base, trust_remote_code=settings.trust_remote_code)
        model = load_learner(self.base, settings.method, settings.device, trust_remote_code=settings.trust_remote_code)
        if on_cpu:
            group_heads(model)
        # One long epoch in an order of our own: TRL's sampler would begin every later epoch anew after a kill.
        order = self.questions.order(settings.prompts * -(-settings.max_steps // settings.iterations), settings.seed)
        rows = Dataset.from_dict({"prompt": [self.questions.prompts[row] for row in order], "row": order})
        arguments = GRPOConfig(
            output_dir=str(self.folder),
            max_steps=settings.max_steps,
            per_device_train_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.n_rollouts // settings.batch_size,
            num_generations=settings.generations,
            num_iterations=settings.iterations,
            max_completion_length=sampling.max_tokens,
            shuffle_dataset=False,
            temperature=settings.temperature,
            beta=settings.beta,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=settings.warmup_steps,
            weight_decay=0.0,
            seed=settings.seed,
            data_seed=settings.seed,
            bf16=settings.mixed and (on_cpu or computes_in("bfloat16", torch.device(settings.device))),
            gradient_checkpointing=settings.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            trust_remote_code=settings.trust_remote_code,
            use_vllm=by_vllm,
            vllm_mode="colocate",
            generation_kwargs={"stop": list(sampling.stop)} if by_vllm and sampling.stop else None,
            eval_strategy="no",
            save_strategy="no",  # the watch says when
            logging_strategy="steps",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            use_cpu=on_cpu,
            dataloader_pin_memory=not on_cpu,
        )
        return CountedTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            reward_funcs=RewardFunction(
                self.questions.examples,
                self.reward,
                StopChecker(tokenizer, frozenset(), sampling.stop),  # no end tokens: decoding leaves them out
            ),
            processing_class=tokenizer,
            callbacks=callbacks,
            peft_config=adapters(settings.method, settings.rank, settings.alpha),
            meter=meter,
            sampling=Sampling(sampling.max_tokens, sampling.stop, settings.temperature, settings.seed),
            rollout_rows=settings.rollout_rows,
        )
