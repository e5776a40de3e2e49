"""Checks before a run whether this machine could train the student that the run is to end with."""

from __future__ import annotations

from thickets.flows.config.run import RunConfig
from thickets.storage.models.base import BaseModelRef
from thickets.tasks.distillation.memory import ModelShape, check_host, plan_checkpointing
from thickets.tasks.host_memory import total_memory_bytes


def check_training_memory(config: RunConfig, base: BaseModelRef, longest: int) -> None:
    """Refuse a distillation that cannot fit where it would run; on a Ray cluster only the cluster knows.

    Args:
        config: With a `distillation` section.
        base: The model.
        longest: Tokens of the run's longest prompt.

    Raises:
        InputError: It cannot.
    """
    section = config.distillation
    if section is None or config.engine.executor == "ray":
        return
    import torch

    from thickets.tasks.engines.devices import pick_device

    shape = ModelShape.of(base.path, base.n_parameters, base.size_bytes)
    device = pick_device(config.engine.device)
    if device.type != "cuda":
        check_host(shape, section.method, total_memory_bytes(), rank=section.rank)
        return
    configured = config.decoding.max_tokens
    plan_checkpointing(
        shape,
        section.method,
        int(torch.cuda.get_device_properties(device.index or 0).total_memory),
        rank=section.rank,
        rows=section.batch_size,
        # A limit that is learned, or the problem's own, is counted when the training begins.
        length=longest + (configured if isinstance(configured, int) else 0),
    )
