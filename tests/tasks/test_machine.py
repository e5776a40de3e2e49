from __future__ import annotations

import os
from pathlib import Path

import psutil

from thickets.tasks.scoring.executors.machine import usable_cores, usable_memory_bytes


def test_the_affinity_of_the_process_counts() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cores() <= len(before)


def test_the_limits_of_a_container_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == usable_cores(Path("/nowhere"))
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path) == usable_cores(Path("/nowhere"))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(tmp_path) == 1
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    assert usable_memory_bytes(tmp_path) == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert 3000 < usable_memory_bytes(tmp_path) <= psutil.virtual_memory().total
