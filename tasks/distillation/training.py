"""Supervised training of a student with TRL: on the responses alone, stopped by validation accuracy, safe to kill.

TRL's trainer is given tokens and labels, so that neither it nor its collator decides what is trained on. Its
checkpoints hold weights as safetensors, and optimizer, schedule and random state as files of `torch.save`, which are
pickles: they are read back with `weights_only`, only from the folder this process was given for them, and whoever calls
`train` deletes them when the student is written. A checkpoint counts once its last file, ours, is there.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thickets.storage.errors import InputError
from thickets.tasks.distillation.chatter import leave_out_chatter
from thickets.tasks.distillation.checkpoints import checkpoint_at, last_checkpoint, seal, trainer_state
from thickets.tasks.distillation.learner import adapters, load_learner
from thickets.tasks.distillation.results import Training, ValidationPoint
from thickets.tasks.distillation.texts import TrainingText
from thickets.tasks.engines.model_kinds import kind_of

if TYPE_CHECKING:
    from thickets.tasks.distillation.objective import Targets

log = logging.getLogger("thickets")

LIBRARIES = ("trl", "peft", "transformers", "torch")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a student is trained; see `DistillationConfig` for what each field means."""

    method: Literal["lora", "full"]
    rank: int
    alpha: int
    learning_rate: float
    max_steps: int
    batch_size: int
    eval_every: int
    patience: int
    seed: int
    device: str = "cpu"
    trust_remote_code: bool = False
    mixed: bool = False  # products in bfloat16, weights in float32
    checkpointing: bool = False  # activations are made again for the gradients


@dataclass(frozen=True, slots=True)
class Exam:
    """The validation split, put to the weights as they are.

    Attributes:
        take: Given the live model, the number of correct answers, and the sum of all scores in thousandths.
        n: Questions.
    """

    take: Callable[[Any], tuple[int, int]]
    n: int


def check_installed(section: str = "distillation") -> None:
    """Check that the libraries of the extra are installed.

    Args:
        section: Of the configuration, which asks for them.

    Raises:
        InputError: They are not.
    """
    missing = [name for name, found in library_versions().items() if found == "absent"]
    if missing:
        raise InputError(
            f"{section}: {' and '.join(missing)} not installed; install the extra thickets[distill], or remove the "
            "section"
        )


def check_can_learn(name: str, base: Path, section: str = "distillation") -> None:
    """Check that a model is of a kind that can be trained.

    Args:
        name: What the user calls it.
        base: Folder of its checkpoint.
        section: Of the configuration, which asks for it.

    Raises:
        InputError: It is a signals network, or reads images as well.
    """
    if not kind_of(base).is_language_model:
        raise InputError(
            f"{section}: {name} is a signals network, and only language models can be trained; remove the section"
        )
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    if "vision_config" in config:
        raise InputError(
            f"{section}: {name} reads images as well ({config.get('model_type')}), and training such a model "
            "is not supported; remove the section"
        )


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that a student's weights depend on."""
    from importlib.metadata import PackageNotFoundError

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def train(
    base: Path,
    texts: Sequence[TrainingText],
    exam: Exam,
    folder: Path,
    settings: TrainingSettings,
    *,
    targets: Targets | None = None,
    on_point: Callable[[ValidationPoint, float | None], None] = lambda point, loss: None,
) -> tuple[Path, Training]:
    """Train, or go on from the last whole checkpoint of an earlier attempt.

    The same call ends with the same checkpoint, bit for bit, however often it was killed (on the CPU, with the same
    number of threads).

    Args:
        base: Folder of the base checkpoint.
        texts: The training data.
        exam: Decides which step is kept and when to stop.
        folder: Of the checkpoints.
        settings: How to train.
        targets: Token distributions to match, row by row; None: the tokens of the responses themselves.
        on_point: Told of every validation point and of the mean training loss since the last one.

    Returns:
        The folder of the best checkpoint (adapters, or a whole model in float32), and how it went.
    """
    started = time.monotonic()
    last = last_checkpoint(folder)
    if last is None or not _is_finished(last, settings):
        trainer = _make_trainer(base, texts, exam, folder, settings, targets, on_point)
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        del trainer
        last = last_checkpoint(folder)
        assert last is not None  # a checkpoint is written at the last step
    state = trainer_state(last)
    outcome = _outcome(state, texts, settings.batch_size, time.monotonic() - started)
    return checkpoint_at(folder, outcome.best_step), outcome


def _make_trainer(
    base: Path,
    texts: Sequence[TrainingText],
    exam: Exam,
    folder: Path,
    settings: TrainingSettings,
    targets: Targets | None,
    on_point: Callable[[ValidationPoint, float | None], None],
) -> Any:
    leave_out_chatter()
    import torch
    from datasets import Dataset
    from transformers import EarlyStoppingCallback
    from trl import SFTConfig

    from thickets.tasks.distillation.trainer import ResponseTrainer
    from thickets.tasks.engines.dtypes import computes_in
    from thickets.tasks.engines.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(base, trust_remote_code=settings.trust_remote_code)
    model = load_learner(base, settings.method, settings.device, trust_remote_code=settings.trust_remote_code)
    rows = Dataset.from_dict(
        {
            "input_ids": [list(text.input_ids) for text in texts],
            "labels": [list(text.labels) for text in texts],
            **({} if targets is None else {"target_row": list(range(len(texts)))}),
        }
    )
    arguments = SFTConfig(
        output_dir=str(folder),
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        weight_decay=0.0,
        seed=settings.seed,
        data_seed=settings.seed,
        bf16=settings.mixed and (settings.device == "cpu" or computes_in("bfloat16", torch.device(settings.device))),
        gradient_checkpointing=settings.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        eval_strategy="steps",
        eval_steps=settings.eval_every,
        save_strategy="steps",
        save_steps=settings.eval_every,
        logging_strategy="steps",
        logging_steps=settings.eval_every,
        # The one before is kept too: the newest may turn out to be cut off.
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_points",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        report_to="none",
        disable_tqdm=True,
        use_cpu=settings.device == "cpu",
        dataloader_pin_memory=settings.device != "cpu",
    )
    return ResponseTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=rows.select([0]),  # never read: `evaluate` asks the exam; the trainer insists on one
        processing_class=tokenizer,
        callbacks=[EarlyStoppingCallback(settings.patience), *ResponseTrainer.callbacks(settings.max_steps, seal)],
        peft_config=adapters(settings.method, settings.rank, settings.alpha),
        exam=exam,
        targets=targets,
        on_point=on_point,
    )


def _is_finished(checkpoint: Path, settings: TrainingSettings) -> bool:
    """Return whether training had ended when this checkpoint was written: at its last step, or out of patience."""
    state = trainer_state(checkpoint)
    stopper = state["stateful_callbacks"]["EarlyStoppingCallback"]
    waited = stopper["attributes"]["early_stopping_patience_counter"]
    return bool(state["global_step"] >= settings.max_steps or waited >= settings.patience)


def _outcome(state: dict[str, Any], texts: Sequence[TrainingText], batch_size: int, train_s: float) -> Training:
    """Read how training went from the trainer's own log, which resumes with it."""
    history = state["log_history"]
    points = [
        ValidationPoint(
            step=entry["step"], n_correct=entry["eval_correct"], n=entry["eval_n"], points=entry["eval_points"]
        )
        for entry in history
        if "eval_correct" in entry
    ]
    n_passes = state["global_step"] / -(-len(texts) // batch_size)
    return Training(
        n_rows=len(texts),
        n_steps=state["global_step"],
        best_step=state["best_global_step"],
        curve=tuple(points),
        losses={entry["step"]: entry["loss"] for entry in history if "loss" in entry},
        n_tokens=round(n_passes * sum(len(text.input_ids) for text in texts)),
        train_s=train_s,
    )
