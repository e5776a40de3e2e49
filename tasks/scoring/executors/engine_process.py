"""Starts an engine in a process of its own and talks to it; `engine_main` runs in that process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from thickets.tasks.allocator import environment_that_keeps_memory
from thickets.tasks.child_process import ChildProcess
from thickets.tasks.scoring.executors.job import ScoringJob
from thickets.tasks.scoring.executors.messages import Ask, Message

# Variables that libraries read on import; without them each starts as many threads as there are cores.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


class EngineProcess(ChildProcess):
    """The process of one engine."""

    def __init__(self, threads: int | None, variables: Mapping[str, str] | None = None) -> None:
        """Start it.

        Args:
            threads: CPU threads; None: the libraries' choice.
            variables: Of its environment, instead of ours.
        """
        limits = {} if threads is None else dict.fromkeys(_THREADS, str(threads))
        environment = environment_that_keeps_memory() | limits | dict(variables or {})
        super().__init__("thickets.tasks.scoring.executors.engine_main", environment)
        self.name = f"local:{self.pid}"

    def messages(self, job: ScoringJob) -> Iterator[Message]:
        """Send the job and yield the messages of the process until it ends."""
        return self.conversation(job)

    def ask(self, request: Ask) -> None:
        """Send a shard; nothing happens if the process has ended."""
        with contextlib.suppress(OSError):
            self.send(request)
