"""Whether every part of a divided model can hold the whole base, as it must where vLLM reloads candidates itself."""

from __future__ import annotations

from typing import Literal

_GIB = 1 << 30


def whole_base_problem(
    *,
    base_bytes: int,
    free_bytes: int,
    n_parts: int,
    base_copy: Literal["device", "host"],
    reason: str,
) -> str | None:
    """Return one line about a base that does not fit; None if it fits, or if the model is not divided.

    Until this has been measured on GPUs: copies that are bound to fail must not be tried.

    Args:
        base_bytes: Size of the whole checkpoint in the type that it runs in.
        free_bytes: What is free now, after vLLM has taken its share: on each GPU, or in host memory.
        n_parts: GPUs that the model is divided over, on one machine.
        base_copy: Where the base is to be.
        reason: Why the parts cannot keep their own shares alone.
    """
    needed = base_bytes * (n_parts if base_copy == "host" else 1)
    if n_parts == 1 or needed <= free_bytes:
        return None
    where, other = ("host memory", "device") if base_copy == "host" else ("each GPU's memory", "host")
    return (
        f"engine.vllm.tensor_parallel: found {n_parts}, but the parts cannot keep their own shares of the base "
        f"({reason}), and the whole base for each takes {needed / _GIB:.1f} GiB of {where}, of which "
        f"{free_bytes / _GIB:.1f} GiB are free; try engine.base_copy: {other}, or a model that fits on one GPU"
    )
