"""The `data` section: how many examples each split has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.problems.splits import Draw


class DataConfig(Section):
    """Sizes of the three disjoint splits, in examples, and the seed that draws them."""

    selection: PositiveInt = Field(200, description="Examples that rank the candidates.")
    validation: PositiveInt = Field(200, description="Examples that choose K; never used to rank candidates.")
    test: PositiveInt = Field(500, description="Examples the result is reported on; answered once, at the end.")
    seed: int = Field(
        0, ge=0, lt=2**64, description="Seed of the shuffle that draws the splits (and of generated questions)."
    )
    redraw: int | None = Field(
        None,
        ge=0,
        lt=2**64,
        description="Draws other selection and validation questions, from what the three splits leave of the data; "
        "the test split stays. Empty: the first draw.",
    )
    too_long: Literal["error", "drop"] = Field(
        "error",
        description="Rows whose prompt leaves the model no room for an answer: error names the first, drop leaves them "
        "out of the split they were drawn for, which is then smaller; no other row moves.",
    )

    @property
    def draw(self) -> Draw:
        """The arguments of `draw_splits`."""
        return {
            "selection": self.selection,
            "validation": self.validation,
            "test": self.test,
            "seed": self.seed,
            "redraw": self.redraw,
        }
