"""Which rivals there are. The command line reads this before it imports anything large."""

from __future__ import annotations

from typing import Literal, TypeAlias

RivalMethod: TypeAlias = Literal["es", "grpo"]

# What people call them.
METHOD_NAMES: dict[RivalMethod, str] = {"es": "evolution strategies", "grpo": "GRPO"}
