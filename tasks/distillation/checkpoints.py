"""A trainer's checkpoints: one counts once its last file, ours, is there; training goes on from the newest of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from thickets.storage.files import write_text_atomically

_COMPLETE = "complete"
_STATE = "trainer_state.json"


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as whole; the last thing that is written into it."""
    write_text_atomically(checkpoint / _COMPLETE, "")


def step_of(checkpoint: Path) -> int:
    """Return the step whose weights a checkpoint holds."""
    return int(checkpoint.name.rpartition("-")[2])


def checkpoint_at(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint of a step."""
    return folder / f"checkpoint-{step}"


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint, and delete incomplete ones."""
    found = []
    for path in folder.glob("checkpoint-*"):
        if (path / _COMPLETE).is_file():
            found.append(path)
        else:
            shutil.rmtree(path)
    return max(found, key=step_of, default=None)


def trainer_state(checkpoint: Path) -> dict[str, Any]:
    """Read what the trainer knew when it wrote a checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    return state


def forget(folder: Path) -> None:
    """Delete what training needed on the way and nothing needs afterwards: checkpoints, token distributions."""
    shutil.rmtree(folder, ignore_errors=True)
