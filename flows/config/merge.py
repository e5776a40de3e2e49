"""The `merge` section of a run's configuration: one model made of the population's noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from thickets.flows.config.section import PositiveInt, Section
from thickets.tasks.merging.counts import MergeCounts, count_merges
from thickets.tasks.merging.trials import DirectionName
from thickets.tasks.results.merging import Gate


class MergeConfig(Section):
    """One model beside the vote: the base and a weighted sum of candidates' noise, where that beats the base."""

    directions: tuple[DirectionName, ...] = Field(
        ("best", "z_score"),
        min_length=1,
        description="How candidates count: best: the K best alike, for each of k; z_score: all of them, by how far "
        "their score lies from the mean of their sigma, the bad ones backwards; rank: likewise by place.",
    )
    k: tuple[PositiveInt, ...] = Field(
        (),
        description="How many candidates direction best takes; empty: the K of selection.k_values, and an eighth of "
        "the population.",
    )
    radii: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(
        (1.0, 1.5),
        min_length=1,
        description="How far from the base the merge lies, in distances of one candidate; the average of K lies at "
        "1 / sqrt(K), which is tried as well.",
    )

    doublings: int = Field(
        0,
        ge=0,
        le=10,
        description="How often the largest radius is doubled in a direction, while the validation split finds the "
        "farthest merge better than all nearer ones.",
    )
    coordinate_steps: int = Field(
        0,
        ge=0,
        le=1000,
        description="Steps of a search over the coefficients of the best merge, two merges each on the selection "
        "split; the validation split judges where it ends.",
    )

    gate: Gate = Field(
        "interval",
        description="When the best merge stands: interval: its difference to the base lies above 0 on the validation "
        "split with all of its 95 % interval; better: it lies above 0. That may be luck, but rounds go on.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name in ("directions", "k", "radii"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"merge.{name} is {list(values)}; each may stand once")
        return self

    def ks(self, k_values: Sequence[int], n_candidates: int) -> tuple[int, ...]:
        """Return how many candidates direction `best` takes, in increasing order if nothing is configured.

        Args:
            k_values: The run's `selection.k_values`.
            n_candidates: Its population.
        """
        # A merge of many far from the base was above that of the few that vote best (docs/contest.md).
        return self.k or tuple(sorted({*k_values, max(1, n_candidates // 8)}))

    def counted(self, k_values: Sequence[int], n_candidates: int) -> MergeCounts:
        """Count the merges that a run scores, at most.

        Args:
            k_values: The run's `selection.k_values`.
            n_candidates: Its population.
        """
        return count_merges(
            self.directions,
            self.ks(k_values, n_candidates),
            len(self.radii),
            n_candidates,
            doublings=self.doublings,
            coordinate_steps=self.coordinate_steps,
        )
