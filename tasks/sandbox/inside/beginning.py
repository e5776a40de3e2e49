"""How a process inside a sandbox begins: its pipes put aside from what a program prints, and its rights given up."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from typing import TextIO

from . import guard


def open_pipes() -> tuple[TextIO, TextIO]:
    """Return streams of what is asked and answered; standard input, output and error become empty ones."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    return requests, replies


def restricted(settings: Sequence[str], requests: TextIO) -> None:
    """Give up what a program does not need, and end if nobody is there any more who asks for anything.

    Args:
        requests: The pipe of what is asked.
        settings: Processor seconds, bytes of memory, and the isolation: ``bubblewrap``, ``landlock`` or ``limits``.
    """
    cpu_s, memory_bytes, isolation = settings
    guard.limit(int(cpu_s), int(memory_bytes))
    if sys.platform == "linux":
        guard.die_with_parent()
    if isolation != "limits":
        guard.give_up_privileges()
        if isolation == "landlock":
            guard.forbid_files()
        guard.forbid_system_calls()
    # It may have ended before this process, or bubblewrap, had asked to die with it.
    ended = select.poll()
    ended.register(requests, select.POLLHUP)
    if any(event & select.POLLHUP for _, event in ended.poll(0)):
        os._exit(1)
