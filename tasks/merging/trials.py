"""The merges that a run tries on its validation split, made of the scores of the selection split."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from thickets.tasks.merging.directions import Shaping, best, merge, shaped
from thickets.tasks.types import Candidate, Merge

DirectionName: TypeAlias = Literal["best", "z_score", "rank"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A merge that is tried.

    Attributes:
        direction: How its candidates count.
        k: How many candidates it takes.
        radius: Its distance from the base, in distances of one candidate.
        merge: The model.
    """

    direction: DirectionName
    k: int
    radius: float
    merge: Merge

    @property
    def label(self) -> str:
        """What people call it."""
        who = f"{self.k} best" if self.direction == "best" else f"all {self.k} by {self.direction.replace('_', '-')}"
        return f"merge of {who} at {self.radius:.3g}"


def plan_trials(
    board: pl.DataFrame,
    scored: pl.DataFrame,
    directions: Sequence[DirectionName],
    k_values: Sequence[int],
    radii: Sequence[float],
) -> list[Trial]:
    """Make every merge that is to be tried, each model once.

    Args:
        board: The candidates by rank: seed, sigma. Direction ``best`` takes the first ones.
        scored: Every candidate with a score on the same questions: seed, sigma, points. The other directions take
            these; scores are compared within a sigma, as those of other sigmas are of another kind.
        directions: How candidates count.
        k_values: How many ``best`` takes; more than there are are left out.
        radii: Distances from the base; ``best`` also has 1 / sqrt(K), which is the plain average.

    Returns:
        In the order given: the first of equally good ones is the simplest.
    """
    found: dict[str, Trial] = {}
    for direction in directions:
        for k, candidates, unit, own in _directions(direction, board, scored, k_values):
            for radius in dict.fromkeys((*own, *radii)):
                trial = Trial(direction, k, radius, merge(candidates, unit, radius))
                found.setdefault(trial.merge.id, trial)
    return list(found.values())


def n_trials(directions: Sequence[DirectionName], n_k: int, n_radii: int) -> int:
    """Count the merges of `plan_trials`, at most."""
    return sum(n_k * (n_radii + 1) if direction == "best" else n_radii for direction in directions)


def _directions(
    direction: DirectionName, board: pl.DataFrame, scored: pl.DataFrame, k_values: Sequence[int]
) -> Iterator[tuple[int, list[Candidate], NDArray[np.float64], tuple[float, ...]]]:
    """Yield size, candidates, coefficients of length 1, and the direction's own radius."""
    if direction == "best":
        for k in k_values:
            if k <= board.height:
                yield k, _candidates(board.head(k)), best([0.0] * k, k), (1 / math.sqrt(k),)
        return
    worths = _worths(scored, direction)
    if (length := float(np.linalg.norm(worths))) > 0:
        yield scored.height, _candidates(scored), worths / length, ()


def _worths(scored: pl.DataFrame, shaping: Shaping) -> NDArray[np.float64]:
    sigmas, points = scored["sigma"].to_numpy(), scored["points"].to_numpy()
    worths = np.zeros(len(points))
    for sigma in np.unique(sigmas):
        worths[sigmas == sigma] = shaped(points[sigmas == sigma].tolist(), shaping)
    return worths


def _candidates(rows: pl.DataFrame) -> list[Candidate]:
    return [Candidate(seed, sigma) for seed, sigma in rows.select("seed", "sigma").iter_rows()]
