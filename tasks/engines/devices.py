"""The devices that PyTorch sees here: which one a name stands for, and what each is called."""

from __future__ import annotations

import torch

from thickets.storage.errors import InputError

DEVICES = "auto, cpu, cuda, cuda:<index> or mps"


def pick_device(device: str) -> torch.device:
    """Return the device that a name stands for; ``auto`` is CUDA where PyTorch sees it, else Apple's GPU, else the CPU.

    Raises:
        InputError: There is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError:
        raise InputError(f"engine.device: {device!r} is not a device; use {DEVICES}") from None
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"engine.device: {device!r} was asked for, but PyTorch sees no CUDA device here; use cpu")
    if picked.type == "cuda" and (picked.index or 0) >= (n_gpus := torch.cuda.device_count()):
        raise InputError(
            f"engine.device: {device!r} was asked for, but PyTorch sees {n_gpus} CUDA devices, from cuda:0"
        )
    if picked.type == "mps" and not _has_mps():
        raise InputError(f"engine.device: {device!r} was asked for, but PyTorch sees no Apple GPU here; use cpu")
    return picked


def device_name(device: str) -> str:
    """Return what the maker calls a device of this machine, e.g. ``NVIDIA H200``; of a processor, its model."""
    kind = torch.device(device).type
    if kind == "cuda":
        return str(torch.cuda.get_device_name(device))
    if kind == "mps":
        return "Apple GPU"
    return str(cpu_capabilities().get("cpu_name") or cpu_capabilities().get("architecture") or "CPU")


def visible_cards() -> tuple[str, ...]:
    """Return what the maker calls each GPU that CUDA lets this process see, in PyTorch's order."""
    return tuple(str(torch.cuda.get_device_name(index)) for index in range(torch.cuda.device_count()))


def cpu_capabilities() -> dict[str, object]:
    """Return what PyTorch detects of this processor: its name, and instructions such as ``avx512_bf16``."""
    detect = getattr(torch.cpu, "get_capabilities", None)
    return {} if detect is None else dict(detect())  # older versions of PyTorch tell nothing


def _has_mps() -> bool:
    return torch.backends.mps.is_available()
