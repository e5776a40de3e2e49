"""Decides the sizes of blocks and batches that a configuration leaves to the device.

They are part of a run's identity, so they follow from the configuration and the kind of device alone: not from how much
memory there is, nor from which splits are scored.
"""

from __future__ import annotations

from thickets.flows.config.run import RunConfig, one_block
from thickets.flows.config.scoring import LEAST_BLOCK
from thickets.storage.errors import InputError

_CPU_BATCH = 64
# A unit on a GPU takes as long as its longest answer, however many there are, and each loads its candidate once more.
_GPU_BLOCK = _GPU_BATCH = 1024


def examples_per_block(config: RunConfig, device: str) -> int:
    """Return `scoring.examples_per_block`; where it is empty, 1024 on CUDA and 256 elsewhere.

    Args:
        config: The run.
        device: What runs it, as an engine's spec names it when nothing is ``auto`` any more.

    Raises:
        InputError: The selection split is to be raced, and is one block.
    """
    configured = config.scoring.examples_per_block
    size = configured or default_block(device)
    if config.scoring.racing is not None and size >= config.data.selection:
        raise InputError(one_block(config.data.selection, size, is_configured=configured is not None))
    return size


def default_block(device: str) -> int:
    """Return what an empty `scoring.examples_per_block` stands for."""
    return _GPU_BLOCK if _is_cuda(device) else LEAST_BLOCK


def batch_size(config: RunConfig, device: str) -> int:
    """Return `engine.batch_size`; where it is empty, the largest block up to 1024 on CUDA and 64 elsewhere."""
    if config.engine.batch_size is not None:
        return config.engine.batch_size
    if not _is_cuda(device):
        return _CPU_BATCH
    data = config.data
    return min(max(data.selection, data.validation, data.test), examples_per_block(config, device), _GPU_BATCH)


def _is_cuda(device: str) -> bool:
    return device.partition(":")[0] == "cuda"
