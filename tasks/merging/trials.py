"""The merges that a run tries on its validation split, made of the scores of the selection split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        k: How many candidates its direction takes; a coordinate search may leave some out.
        radius: Its distance from the base, in distances of one candidate.
        merge: The model.
        is_tuned: Whether a coordinate search has changed its coefficients.
    """

    direction: DirectionName
    k: int
    radius: float
    merge: Merge
    is_tuned: bool = False

    @property
    def label(self) -> str:
        """What people call it."""
        who = f"{self.k} best" if self.direction == "best" else f"all {self.k} by {self.direction.replace('_', '-')}"
        return f"merge of {who} at {self.radius:.3g}{', tuned' if self.is_tuned else ''}"


@dataclass(frozen=True, slots=True)
class Line:
    """A direction from the base, with the merges that lie in it.

    Attributes:
        direction: How its candidates count.
        candidates: They, ``[n]``.
        unit: Their coefficients at radius 1, ``[n]``; the squares add up to 1.
        own_radii: Distances that are tried whatever else is.
    """

    direction: DirectionName
    candidates: tuple[Candidate, ...]
    unit: NDArray[np.float64]
    own_radii: tuple[float, ...] = ()

    def at(self, radius: float) -> Trial:
        """Return the merge at a distance from the base."""
        return Trial(self.direction, len(self.candidates), radius, merge(self.candidates, self.unit, radius))


def plan_lines(
    board: pl.DataFrame,
    scored: pl.DataFrame,
    directions: Sequence[DirectionName],
    k_values: Sequence[int],
) -> list[Line]:
    """Return the directions in which merges are tried; one in which all candidates are worth the same is left out.

    Args:
        board: The candidates by rank: seed, sigma. Direction ``best`` takes the first ones.
        scored: Every candidate with a score on the same questions: seed, sigma, points. The other directions take
            these; scores are compared within a sigma, as those of other sigmas are of another kind.
        directions: How candidates count.
        k_values: How many ``best`` takes; more than there are are left out.
    """
    found: list[Line] = []
    everybody = _candidates(scored)
    for direction in directions:
        if direction == "best":
            taken = [k for k in k_values if k <= board.height]
            found += (Line("best", _candidates(board.head(k)), best([0.0] * k, k), (1 / math.sqrt(k),)) for k in taken)
            continue
        worths = _worths(scored, direction)
        if (length := float(np.linalg.norm(worths))) > 0:
            found.append(Line(direction, everybody, worths / length))
    return found


def plan_trials(lines: Sequence[Line], radii: Sequence[float]) -> list[Trial]:
    """Make every merge that is to be tried, each model once.

    Args:
        lines: The directions.
        radii: Distances from the base.

    Returns:
        In the order given: the first of equally good ones is the simplest.
    """
    trials = (line.at(radius) for line in lines for radius in dict.fromkeys((*line.own_radii, *radii)))
    return list({trial.merge.id: trial for trial in reversed(list(trials))}.values())[::-1]


def double_radii(lines: Sequence[Line], trials: Sequence[Trial], points: Mapping[str, int]) -> list[Trial]:
    """Go twice as far in every direction whose farthest merge is better than all nearer ones.

    Args:
        lines: The directions.
        trials: What was tried in them.
        points: Of every trial, by the merge's id, on the same questions.

    Returns:
        One for each such direction.
    """
    found: dict[str, Trial] = {}
    for line in lines:
        mine = sorted(
            (trial for trial in trials if (trial.direction, trial.k) == (line.direction, len(line.candidates))),
            key=lambda trial: trial.radius,
        )
        if not mine:  # another direction has the same merges
            continue
        farthest = mine[-1]
        if all(points[trial.merge.id] < points[farthest.merge.id] for trial in mine[:-1]):
            further = line.at(2 * farthest.radius)
            found.setdefault(further.merge.id, further)
    return [trial for trial in found.values() if trial.merge.id not in points]


def _worths(scored: pl.DataFrame, shaping: Shaping) -> NDArray[np.float64]:
    sigmas, points = scored["sigma"].to_numpy(), scored["points"].to_numpy()
    worths = np.zeros(len(points))
    for sigma in np.unique(sigmas):
        worths[sigmas == sigma] = shaped(points[sigmas == sigma].tolist(), shaping)
    return worths


def _candidates(rows: pl.DataFrame) -> tuple[Candidate, ...]:
    return tuple(Candidate(seed, sigma) for seed, sigma in rows.select("seed", "sigma").iter_rows())
