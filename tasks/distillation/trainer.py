"""TRL's trainer with our validation in place of a loss, and with a loss on distributions where there are any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from thickets.tasks.distillation.objective import Targets, distribution_loss
from thickets.tasks.distillation.results import ValidationPoint
from thickets.tasks.distillation.texts import IGNORED


class ResponseTrainer(SFTTrainer):
    """See `thickets.tasks.distillation.training.train`."""

    data_collator: Any
    control: Any

    def __init__(
        self,
        *args: Any,
        exam: Any,
        targets: Targets | None,
        on_point: Callable[[ValidationPoint, float | None], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._exam, self._targets, self._on_point = exam, targets, on_point
        self.remove_callback(PrinterCallback)  # standard output is for results
        self.add_callback(_FirstLook(self._look))
        if targets is not None:
            self.data_collator = _WithRows(self.data_collator)

    @staticmethod
    def callbacks(max_steps: int, seal: Callable[[Path], None]) -> list[TrainerCallback]:
        """Return the callbacks for the last step and for every checkpoint."""
        return [_AtTheEnd(max_steps), _Sealer(seal)]

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Take the exam with the current weights; keep the best, and count evaluations without improvement."""
        metrics = self._look()
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _look(self) -> dict[str, float]:
        self.model.eval()
        n_correct, points = self._exam.take(self.model)
        metrics = {"eval_points": points, "eval_correct": n_correct, "eval_n": self._exam.n}
        step = self.state.global_step
        loss = next((entry["loss"] for entry in reversed(self.state.log_history) if "loss" in entry), None)
        self._on_point(ValidationPoint(step=step, n_correct=n_correct, n=self._exam.n, points=points), loss)
        self.log(dict(metrics))
        return metrics

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """Compute TRL's own loss on the tokens, or cross-entropy against the experts' mean distribution."""
        if self._targets is None:
            return super().compute_loss(model, inputs, return_outputs=return_outputs, **kwargs)
        rows = inputs.pop("target_row")
        labels = inputs.pop("labels")
        # The logits before a token are those that predict it. Only they are projected onto the vocabulary.
        answered = labels[:, 1:] != IGNORED
        columns = answered.any(dim=0).nonzero()[:, 0]
        logits = model(**inputs, use_cache=False, logits_to_keep=columns).logits
        picked = logits[answered[:, columns]]
        loss = distribution_loss(picked, *self._targets.of_rows(rows.tolist(), picked.device))
        return (loss, {"logits": logits}) if return_outputs else loss

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card: checkpoints are temporary, and `student_card` makes the student's."""


class _WithRows:
    """TRL's collator, with each row's number added to the batch."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = self._collate(examples)
        batch["target_row"] = torch.tensor([example["target_row"] for example in examples])
        return batch


class _FirstLook(TrainerCallback):
    """Evaluates the base's weights before the first step, which are not kept as a checkpoint."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self._look = look

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            self._look()


class _AtTheEnd(TrainerCallback):
    """Logs, evaluates and saves the last step, even between two regular evaluations."""

    def __init__(self, max_steps: int) -> None:
        self._max_steps = max_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step >= self._max_steps:
            control.should_log = control.should_evaluate = control.should_save = True
        return control


class _Sealer(TrainerCallback):
    """Marks a checkpoint as whole once everything else is in it."""

    def __init__(self, seal: Callable[[Path], None]) -> None:
        self._seal = seal

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")
