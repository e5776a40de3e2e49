"""Runs of the tiny model that the flow tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.config import RunConfig
from flows.config_file import parse_config


@pytest.fixture
def config(tiny_model: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """Make a configuration that runs in a second: `config(population={"size": 8})` replaces whole sections."""

    def make(**sections: Any) -> RunConfig:
        values = {
            "name": "tiny",
            "model": str(tiny_model),
            "problem": {"name": "largest_number", "options": {"below": 30, "count": 2}},
            "data": {"selection": 12, "validation": 10, "test": 14},
            "population": {"size": 9, "sigmas": [0.05, 0.1, 0.2]},
            "decoding": {"max_tokens": 8},
            "engine": {"kind": "transformers", "device": "cpu", "batch_size": 5},
            "scoring": {"examples_per_block": 5, "candidates_per_shard": 2},
            "selection": {"k_values": [1, 3, 5]},
            "storage": {"home": str(tmp_path / "home")},
        }
        return parse_config(values | sections)

    return make
