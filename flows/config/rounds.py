"""The `rounds` section of a run's configuration: searches around what the search before has made."""

from __future__ import annotations

from pydantic import Field

from thickets.flows.config.section import Section


class RoundsConfig(Section):
    """Search, merge, search around the merge, and so on, until no merge beats the model it was made around."""

    most: int = Field(4, ge=1, le=100, description="Most rounds; fewer where a merge does not beat its base.")
    shrink: float = Field(
        1.0, gt=0, le=1, description="Times this, every sigma goes into the next round; 1 leaves them as they are."
    )
