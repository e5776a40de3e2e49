"""Shards and processes that the storage tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.storage.storage_samples import BLOCK, SPLITS, candidate_frame, score_rows
from thickets.storage.shards.file import write_shard

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shards(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write a population's shards, ``size`` candidates each, into ``tmp_path/shards``, and return their paths."""

    def write(n: int, size: int = 3, splits: Sequence[str] = ("selection",)) -> list[Path]:
        ids = candidate_frame(n)["candidate_id"].to_list()
        return [
            write_shard(
                tmp_path / "shards", f"{split}-{first}-{block}", score_rows(ids[first : first + size], split, block)
            )
            for split in splits
            for first in range(0, len(ids), size)
            for block in range(SPLITS[split] // BLOCK)
        ]

    return write


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Start a Python process that can import the project and these samples."""

    def start(code: str, *args: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    return start
