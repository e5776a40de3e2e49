"""How many merges a run scores, at most, and the noise that it takes to make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from thickets.tasks.merging.coordinates import most_scored
from thickets.tasks.merging.trials import DirectionName


@dataclass(frozen=True, slots=True)
class MergeCounts:
    """The merges of a run, at most.

    Attributes:
        selection: Those that answer the selection split, for a coordinate search.
        planned: Those that answer the validation split before it.
        tuned: What the search ends with, which answers the validation split too: 1, or 0 without a search.
        noises: Candidates whose noise is added up for them, by split: to become a merge of n costs an engine about n
            times what it costs to become a candidate.
    """

    selection: int = 0
    planned: int = 0
    tuned: int = 0
    noises: dict[str, int] = field(default_factory=dict)

    @property
    def validation(self) -> int:
        """Those that answer the validation split."""
        return self.planned + self.tuned


def count_merges(
    directions: Sequence[DirectionName],
    k_values: Sequence[int],
    n_radii: int,
    n_candidates: int,
    *,
    doublings: int = 0,
    coordinate_steps: int = 0,
) -> MergeCounts:
    """Count the merges of a configuration; see `thickets.flows.config.merge.MergeConfig`.

    Args:
        directions: How candidates count.
        k_values: How many ``best`` takes.
        n_radii: Distances from the base.
        n_candidates: How many there are.
        doublings: How often the largest radius may be doubled.
        coordinate_steps: Steps of the coordinate search.
    """
    sizes = [k for direction in directions if direction == "best" for k in k_values]
    others = [n_candidates for direction in directions if direction != "best"]
    each = n_radii + doublings
    n_searched, largest = most_scored(coordinate_steps), max([*sizes, *others])
    tuned = min(1, coordinate_steps)
    return MergeCounts(
        selection=n_searched,
        planned=len(sizes) * (each + 1) + len(others) * each,
        tuned=tuned,
        noises={
            "selection": n_searched * largest,
            "validation": sum(sizes) * (each + 1) + sum(others) * each + tuned * largest,
            "test": largest,
        },
    )
