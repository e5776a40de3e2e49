"""A base that every part of a divided model would have to hold whole is refused where it does not fit."""

from __future__ import annotations

from typing import Literal

import pytest

from thickets.tasks.engines.whole_base import whole_base_problem

GIB = 1 << 30


@pytest.mark.parametrize(
    ("base", "free", "n_parts", "base_copy", "refused"),
    [
        (
            131,
            20,
            8,
            "device",
            "131.0 GiB of each GPU's memory, of which 20.0 GiB are free; try",
        ),
        (15, 20, 8, "device", None),
        (131, 900, 8, "host", "1048.0 GiB of host memory, of which 900.0 GiB are free; try engine.base_copy: device"),
        (131, 1100, 8, "host", None),
        (131, 20, 1, "device", None),  # the plan of memory is about that one
    ],
)
def test_the_whole_base_must_fit_once_per_gpu_or_n_times_on_the_host(
    base: int, free: int, n_parts: int, base_copy: Literal["device", "host"], refused: str | None
) -> None:
    found = whole_base_problem(
        base_bytes=base * GIB, free_bytes=free * GIB, n_parts=n_parts, base_copy=base_copy, reason="x.weight: is fused"
    )
    if refused is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(f"engine.vllm.tensor_parallel: found {n_parts}, but")
        assert refused in found
        assert "(x.weight: is fused)" in found
