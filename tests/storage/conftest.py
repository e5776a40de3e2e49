"""Shards and processes that the storage tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.storage.storage_samples import write_shards

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shards(tmp_path: Path) -> Callable[..., list[Path]]:
    """Write a population's shards, ``size`` candidates each, into ``tmp_path/shards``, and return their paths."""
    return partial(write_shards, tmp_path / "shards")


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
