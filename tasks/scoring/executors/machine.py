"""Counts the cores and the memory that this process may use, within the limits of its container."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Count the cores that this process may run on, at least 1; two hardware threads of one core count once.

    Args:
        cgroup: Where the limits of the control group are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limits = [allowed, psutil.cpu_count(logical=False) or allowed]
    match _words(cgroup / "cpu.max"):
        case [quota, period] if quota != "max":
            limits.append(int(quota) // int(period))
    return max(1, min(limits))


def usable_memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Return the memory that this process could still take without swapping.

    Args:
        cgroup: As above.
    """
    free = [int(psutil.virtual_memory().available)]
    match _words(cgroup / "memory.max"), _words(cgroup / "memory.current"):
        case [limit], [used] if limit != "max":
            free.append(int(limit) - int(used))
    return max(0, min(free))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:  # no control groups here, or of the first version
        return []
