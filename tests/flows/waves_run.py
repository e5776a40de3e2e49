"""A run of the signals network, whose merges are clearly above the base: seconds, and a result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OFF = dict.fromkeys(("self_consistency", "random_experts", "weight_average", "best_prompt", "chance"), False)


def waves(home: Path, **changes: Any) -> dict[str, Any]:
    """Return a configuration; a test replaces whole sections."""
    return {
        "name": "waves",
        "model": "signals-thicket",
        "problem": "signals",
        "data": {"selection": 48, "validation": 200, "test": 200},
        "population": {"size": 64, "sigmas": [0.01, 0.02]},
        "selection": {"k_values": [1, 5]},
        "controls": OFF,
        "storage": {"home": str(home)},
        **changes,
    }
