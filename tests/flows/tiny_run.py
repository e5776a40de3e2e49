"""The sections of a run that takes a second, as the flow tests vary them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# What a random model writes is seldom a number that a careful person would read.
ANY_DIGITS = {"verifier": "regex", "pattern": r"\d+"}


def tiny_sections(model: Path) -> dict[str, Any]:
    """Return a configuration's sections without name and home; a test replaces whole ones."""
    return {
        "model": str(model),
        "problem": {"name": "largest_number", "options": {"below": 30, "count": 2}, **ANY_DIGITS},
        "data": {"selection": 12, "validation": 10, "test": 14},
        "population": {"size": 9, "sigmas": [0.05, 0.1, 0.2]},
        "decoding": {"max_tokens": 8},
        "engine": {"kind": "transformers", "device": "cpu", "batch_size": 5},
        "scoring": {"examples_per_block": 5, "candidates_per_shard": 2},
        "selection": {"k_values": [1, 3, 5]},
    }
