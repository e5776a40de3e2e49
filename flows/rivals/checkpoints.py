"""The weights on a rival's way: a float32 checkpoint per step, made of the one before, tensor by tensor.

Every step is a merge (`thickets.tasks.types.Merge`), so any of these checkpoints can be made again from the base and
the steps; the folder keeps the latest ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from thickets.flows.plan import RunPlan
from thickets.storage.files import new_folder
from thickets.storage.models.base import BaseModelRef, resolve_model
from thickets.tasks.engines.base import DtypeName
from thickets.tasks.export.card import CARD
from thickets.tasks.task import task
from thickets.tasks.types import Merge


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of a rival whose steps are merges.

    Attributes:
        run: The run; its base is step 0.
        folder: Where they lie.
    """

    run: RunPlan
    folder: Path

    def at(self, steps: Sequence[Merge | None]) -> BaseModelRef:
        """Return the model after some steps; make it if it is not there.

        Args:
            steps: From the base on; None leaves the weights as they are.
        """
        taken = [number for number, step in enumerate(steps, start=1) if step is not None]
        if not taken:
            return self.run.base
        there = next((number for number in reversed(taken) if self._path(number).is_dir()), 0)
        source = self._path(there) if there else self.run.base.path
        for number in taken:
            if number > there:
                write_step(self.run, source, self._path(number), steps[number - 1], "float32")
                if source != self.run.base.path and source != self._path(there):
                    shutil.rmtree(source)
                source = self._path(number)
        return resolve_model(str(source))

    def write_model(self, steps: Sequence[Merge | None], target: Path, card: str) -> None:
        """Write the model after some steps in the run's type of weights; it appears whole or not at all.

        Args:
            steps: As for `at`.
            target: Absent, or what an earlier call has written.
            card: Text of its README.md.
        """
        if not target.is_dir():
            write_step(self.run, self.at(steps).path, target, None, run_dtype(self.run), card)

    def keep(self, numbers: Collection[int]) -> None:
        """Remove the checkpoints of all other steps."""
        kept = {self._path(number) for number in numbers}
        for path in self.folder.glob("step-*"):
            if path not in kept:
                shutil.rmtree(path)

    def _path(self, number: int) -> Path:
        return self.folder / f"step-{number:04d}"


def run_dtype(run: RunPlan) -> DtypeName:
    """Return the type of weights that a run's engine holds: its own, or that of the base's checkpoint."""
    if run.engine.dtype != "auto":
        return run.engine.dtype
    from thickets.tasks.engines.checkpoint import inspect_checkpoint  # imports PyTorch

    trusted = run.config.engine.trust_remote_code
    found = str(inspect_checkpoint(run.base.path, "auto", trust_remote_code=trusted).dtype).removeprefix("torch.")
    assert found in ("float32", "float16", "bfloat16")
    return found  # type: ignore[return-value]


@task("write-step", retries=1, retry_delays_s=[5])
def write_step(
    run: RunPlan, source: Path, target: Path, step: Merge | None, dtype: DtypeName, card: str | None = None
) -> None:
    """Write a checkpoint with a step on top of another's weights, as a Prefect task.

    Args:
        run: The run, whose noise it is.
        source: Folder of the checkpoint before.
        target: Absent; it appears whole or not at all.
        step: The step; None: the same weights.
        dtype: Type of the weights.
        card: Text of its README.md; None: it has none.
    """
    from thickets.tasks.export.checkpoint import write_checkpoint  # imports PyTorch

    target.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(target, "DIR") as scratch:
        write_checkpoint(
            source,
            scratch,
            step,
            run.engine.perturbation,
            dtype=dtype,
            trust_remote_code=run.config.engine.trust_remote_code,
        )
        if card is not None:
            (scratch / CARD).write_text(card, encoding="utf-8")
