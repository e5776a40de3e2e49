"""Counts the host memory that this process may still take, within the limits of its container."""

from __future__ import annotations

from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_memory_bytes(cgroup: Path = CGROUP) -> int:
    """Return the memory that this process could still take without swapping.

    Args:
        cgroup: Where the limits of the control group are.
    """
    import psutil  # logged models answer without it

    free = [int(psutil.virtual_memory().available)]
    match limits(cgroup / "memory.max"), limits(cgroup / "memory.current"):
        case [limit], [used] if limit != "max":
            free.append(int(limit) - int(used))
    return max(0, min(free))


def total_memory_bytes(cgroup: Path = CGROUP) -> int:
    """Return the memory that this process could take if nothing else ran.

    Args:
        cgroup: As for `usable_memory_bytes`.
    """
    import psutil

    total = int(psutil.virtual_memory().total)
    match limits(cgroup / "memory.max"):
        case [limit] if limit != "max":
            return min(total, int(limit))
    return total


def limits(file: Path) -> list[str]:
    """Return the words of a control group's file; none where there are no control groups, or of the first version."""
    try:
        return file.read_text().split()
    except OSError:
        return []
