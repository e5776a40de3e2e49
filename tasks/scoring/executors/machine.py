"""Counts the cores and the memory that this process may use, within the limits of its container."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from thickets.tasks.host_memory import CGROUP, limits, usable_memory_bytes

__all__ = ["usable_cores", "usable_memory_bytes"]


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Count the cores that this process may run on, at least 1; two hardware threads of one core count once.

    Args:
        cgroup: Where the limits of the control group are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    counts = [allowed, psutil.cpu_count(logical=False) or allowed]
    match limits(cgroup / "cpu.max"):
        case [quota, period] if quota != "max":
            counts.append(int(quota) // int(period))
    return max(1, min(counts))
