"""Judges expressions in a process of its own: SymPy may take for ever."""

from __future__ import annotations

import os

from thickets.tasks.verifiers.limited.process import CPU_S, MEMORY_BYTES, WAIT_S, LimitedProcess

_MODULE = "thickets.tasks.verifiers.expressions.process_main"


class JudgingProcess(LimitedProcess):
    """The process for expressions."""

    def __init__(self, cpu_s: float = CPU_S, wait_s: float = WAIT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        """Start nothing yet; see `LimitedProcess`."""
        super().__init__(_MODULE, "math", cpu_s, wait_s, memory_bytes)

    def form(self, text: str) -> str | None:
        """Return the one form of an expression; None if it has none or takes too much time or memory."""
        found = self.ask("form", text)
        return found if isinstance(found, str) else None

    def equal(self, left: str, right: str) -> bool:
        """Return whether two forms are surely equal."""
        return self.ask("equal", left, right) is True


PROCESS = JudgingProcess()
"""The process of this one; nothing runs until an answer needs it."""

os.register_at_fork(after_in_child=PROCESS.after_fork)
