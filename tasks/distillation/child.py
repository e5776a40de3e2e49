"""Does a distillation's jobs in a process of their own, which sees one GPU and gives all its memory back.

Transformers divides a batch over every GPU that it sees, which TRL refuses, and takes the first one whatever it is
told; and a trainer in the run's own process would leave its memory and CUDA's there. On the CPU there is nothing to
give back, and a process would cost the seconds of its imports for every job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from thickets.storage.errors import OutOfMemoryError, TransientError
from thickets.tasks.child_process import ChildProcess
from thickets.tasks.distillation.jobs import Job, Tell
from thickets.tasks.scoring.executors.log_lines import LogLine
from thickets.tasks.scoring.executors.messages import Failed

_MAIN = "thickets.tasks.distillation.child_main"

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Told:
    """Out: what the job tells on the way."""

    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """Out: the job's result."""

    result: Any


def run_in_child(job: Job[R], tell: Tell, variables: Mapping[str, str]) -> R:
    """Do a job in a process of its own; it is gone when this returns or raises, on Ctrl-C as well.

    Args:
        job: What to do.
        tell: Told what the job tells, in this process.
        variables: Of the process's environment: which GPU it sees.

    Raises:
        ThicketsError: The input is at fault.
        OutOfMemoryError: The GPU's memory did not suffice.
        TransientError: The process was killed, or failed; another attempt goes on at the last checkpoint.
    """
    process = ChildProcess(_MAIN, variables)
    try:
        for message in process.conversation(job):
            if isinstance(message, LogLine):
                message.log()
            elif isinstance(message, Told):
                tell(*message.arguments)
            elif isinstance(message, Failed):
                raise training_error(message)
            else:
                result: R = message.result
                return result
    finally:
        how = process.wait()
    raise TransientError(
        f"training: {how} while it trained; the kernel kills what asks for too much memory. The same command goes "
        "on from the last checkpoint"
    )


def training_error(message: Failed) -> Exception:
    """Return the exception to raise here for a failure in another process."""
    if message.error is not None:
        return message.error
    if "out of memory" in message.what:
        error: Exception = OutOfMemoryError(
            "training: the GPU ran out of memory; lower batch_size in its section (distillation or rivals.grpo), or "
            "set its method to lora"
        )
    else:
        error = TransientError(f"training: the process that trains failed with {message.what}")
    error.add_note(message.where)
    return error
