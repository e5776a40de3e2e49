"""Tells which GPU of the machine a process means by ``cuda:0``: CUDA numbers only those that it lets a process see."""

from __future__ import annotations

import os
import subprocess

_ANSWER_WITHIN_S = 10.0


def physical_gpu(device: str) -> str:
    """Return a name for a GPU that every process of the machine gives it, whatever it can see.

    Args:
        device: ``cuda:<index>`` as PyTorch counts; anything else is returned as it is.

    Returns:
        ``cuda:<index on the machine>``; ``cuda:<UUID>`` where CUDA_VISIBLE_DEVICES holds one that is no whole GPU's
        (a MIG instance), or that `nvidia-smi` is not there to look up.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    kind, _, index = device.partition(":")
    if kind != "cuda" or not visible:
        return device
    if int(index) >= len(visible.split(",")):  # PyTorch sees none of that number either
        return device
    entry = visible_entry(int(index), visible)
    return f"cuda:{entry if entry.isdecimal() else _index_of(entry)}"


def visible_entry(index: int, visible: str | None) -> str:
    """Return what CUDA_VISIBLE_DEVICES has to hold for a process to see one GPU of this process's alone.

    Args:
        index: As PyTorch counts in this process.
        visible: CUDA_VISIBLE_DEVICES of this process; None or empty: it sees all.
    """
    return visible.split(",")[index].strip() if visible else str(index)


def _index_of(uuid: str) -> str:
    """Return the index of the GPU whose UUID begins like this, or the UUID; CUDA takes one that is cut short too."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_WITHIN_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return uuid
    rows = [line.split(", ") for line in told.splitlines()]
    found = [row[0] for row in rows if len(row) == 2 and row[1].startswith(uuid)]
    return found[0] if len(found) == 1 else uuid
