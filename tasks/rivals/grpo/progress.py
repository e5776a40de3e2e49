"""Follows a training by GRPO: looks, checkpoints, cost and the reason to end; all of it survives a kill."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from transformers import TrainerCallback

from thickets.storage.files import write_text_atomically
from thickets.tasks.distillation.checkpoints import checkpoint_at, seal, step_of
from thickets.tasks.distillation.exam import ExamMark
from thickets.tasks.results.cost import Cost
from thickets.tasks.rivals.grpo.meter import CostMeter
from thickets.tasks.rivals.grpo.results import Line, Look, best_of, line_of, n_without_gain
from thickets.tasks.rivals.grpo.settings import ALL_STEPS, BUDGET_SPENT, OUT_OF_PATIENCE, Allowance, GrpoSettings

_LOOKS = "looks.json"
_PROGRESS = "grpo.json"
_ALL_LOOKS = TypeAdapter(tuple[Look, ...])


class Progress(BaseModel):
    """What a checkpoint knows beside its weights.

    Attributes:
        cost: All until its step, the looks before it included.
        ended: Why training ended with it; None: it goes on.
    """

    cost: Cost
    ended: str | None

    @classmethod
    def of(cls, checkpoint: Path) -> Progress:
        """Read it from a checkpoint."""
        return cls.model_validate_json((checkpoint / _PROGRESS).read_text(encoding="utf-8"))


def read_looks(folder: Path, until: int) -> tuple[Look, ...]:
    """Read the looks of an earlier attempt; those behind its last checkpoint were lost with their weights."""
    path = folder / _LOOKS
    found = _ALL_LOOKS.validate_json(path.read_bytes()) if path.is_file() else ()
    return tuple(look for look in found if look.step <= until)


class Ended(Exception):
    """Training had ended before this attempt began; only its last look was missing."""


class Watch(TrainerCallback):
    """Looks at the validation split behind each checkpoint, and ends the training."""

    def __init__(
        self,
        folder: Path,
        settings: GrpoSettings,
        budget: Allowance | None,
        mark: Callable[[Any], ExamMark],
        meter: CostMeter,
        looks: tuple[Look, ...],
        tell: Callable[[Line | Look], None],
    ) -> None:
        """Watch.

        Args:
            folder: Of the checkpoints.
            settings: Of the training.
            budget: What may be spent; None: anything.
            mark: Puts the weights to the validation split.
            meter: Counts.
            looks: Of the base, and of earlier attempts.
            tell: Told of every step, and of every look that is new.
        """
        self._folder, self._settings, self._budget = folder, settings, budget
        self._mark, self._meter, self.looks = mark, meter, looks
        self._tell = tell
        self._began = 0.0
        self.ended: str | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take the look that a kill has cut off; the weights it was about are those that training goes on from.

        Raises:
            Ended: There is nothing to go on with.
        """
        step = state.global_step
        if step and self.looks[-1].step < step:
            self.ended = Progress.of(checkpoint_at(self._folder, step)).ended
            self._look(step, model)
            if self.ended is not None:
                raise Ended

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to count the seconds of a step: its samples, and learning from them."""
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        """Decide whether this was the last step, and whether it is time for a checkpoint and a look."""
        self._meter.worked(time.monotonic() - self._began)
        step = state.global_step
        if self._budget is not None and self._budget.is_spent(self._meter.cost + self._reserve()):
            self.ended = BUDGET_SPENT
        elif step >= self._settings.max_steps:
            self.ended = ALL_STEPS
        control.should_training_stop = self.ended is not None
        control.should_save = self.ended is not None or step % self._settings.eval_every == 0
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Pass on what is known of a step."""
        if "loss" in logs:  # not the summary at the end
            self._tell(line_of({**logs, "step": state.global_step}))

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> Any:
        """Look, once the checkpoint is whole: a kill loses no look, and no weights that were looked at."""
        step = state.global_step
        checkpoint = checkpoint_at(self._folder, step)
        progress = Progress(cost=self._meter.cost, ended=self.ended)
        write_text_atomically(checkpoint / _PROGRESS, progress.model_dump_json())
        seal(checkpoint)
        self._look(step, model)
        control.should_training_stop = self.ended is not None
        return control

    def _look(self, step: int, model: Any) -> None:
        before = self._meter.cost
        model.eval()
        with self._meter.at_work():
            found = self._mark(model)
        model.train()
        self._meter.generated(found.read, found.new)
        cost = self._meter.cost
        own = Cost(**{name: getattr(cost, name) - getattr(before, name) for name in Cost.model_fields})
        look = Look(step=step, validation=found.accuracy, own=own, cost=cost)
        self.looks = (*self.looks, look)
        write_text_atomically(self._folder / _LOOKS, _ALL_LOOKS.dump_json(self.looks).decode())
        self._keep(step)
        if self.ended is None and n_without_gain(self.looks) >= self._settings.patience:
            self.ended = OUT_OF_PATIENCE
        self._tell(look)

    def _keep(self, step: int) -> None:
        """Delete every checkpoint but the best and the newest, and of the best what only going on would need."""
        best = best_of(self.looks).step
        for path in self._folder.glob("checkpoint-*"):
            if step_of(path) not in (best, step):
                shutil.rmtree(path)
            elif step_of(path) != step:
                (path / "optimizer.pt").unlink(missing_ok=True)

    def _reserve(self) -> Cost:
        """Estimate the look behind this step, which the budget has to pay for as well: like the last one."""
        return self.looks[-1].own
